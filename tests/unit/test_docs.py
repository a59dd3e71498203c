"""
The documentation says what the program does.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from conductor_loop import __version__
from conductor_loop.cli import cli
from conductor_loop.config import KEYS

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", REFERENCE / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, f"{path} {name}")


GENERATED = load_generator().pages()
COMMANDS = dict(commands(cli, "conductor-loop"))


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_generated_page_is_fresh(name: str) -> None:
    """After a change of an option or key: `make docs`."""
    assert (REFERENCE / name).read_text() == GENERATED[name], "stale; run `make docs`"


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_every_command_and_option_is_in_the_reference(path: str) -> None:
    """With a text that explains it."""
    page = (REFERENCE / "command-line.md").read_text()
    command = COMMANDS[path]
    section = re.search(rf"^#+ {path}\n(.*?)(?=^#|\Z)", page, re.DOTALL | re.MULTILINE)

    assert section
    assert command.help
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{path}: {option.name} has no help text"
            assert all(f"`{name}" in section[1] for name in option.opts)


@pytest.mark.parametrize("dotted", sorted(KEYS))
def test_every_key_is_in_the_reference(dotted: str) -> None:
    """In its section, with default and meaning."""
    key = KEYS[dotted]
    page = (REFERENCE / "configuration.md").read_text()
    section = page.split(f"## [{key.section}]")[1].split("\n## ")[0]

    assert f"| `{key.name}` | " in section


@pytest.mark.parametrize(
    ("command", "variable"),
    [("health", "CONDUCTOR_LOOP_HEALTH_WAIT"), ("db current", "CONDUCTOR_LOOP_DB_CURRENT_OUTPUT")],
)
def test_documented_variable_is_read(command: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad value in it is noticed."""
    monkeypatch.setenv(variable, "nonsense")

    assert f"`{variable}`" in (REFERENCE / "command-line.md").read_text()
    with pytest.raises(click.BadParameter):
        cli.main(command.split(), prog_name="conductor-loop", standalone_mode=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Files that a page points to are there."""
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    local = [target for target in targets if "://" not in target]

    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_that_are_named_exist(page: Path) -> None:
    """Nobody is told to run what is not there."""
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"`make ([a-z]+)`", page.read_text()))

    assert [name for name in sorted(named) if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


def test_readme_shows_every_command() -> None:
    """A new user sees what there is."""
    readme = (ROOT / "README.md").read_text()
    verbs = [path for path, command in COMMANDS.items() if not isinstance(command, click.Group)]

    assert [path for path in verbs if path not in readme] == []


def test_changelog_has_room_for_what_comes() -> None:
    """Keep a Changelog: the topmost section is the next release."""
    sections = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert sections[0] in ("Unreleased", __version__)


def test_make_alone_explains_every_target() -> None:
    """Each has its line."""
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: help (.+)$", makefile, re.MULTILINE)

    assert phony
    assert [name for name in phony[1].split() if f"'make {name} " not in makefile] == []
