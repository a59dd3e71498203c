"""
The documentation says what the program does.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from conductor_loop import __version__
from conductor_loop.cli import cli
from conductor_loop.cli.lazy import commands_below
from conductor_loop.config import KEYS
from conductor_loop.config import load as load_config
from conductor_loop.model import Kind, Succeeded
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.work.command import CommandProcessor
from conductor_loop.work.handler import HandlerProcessor, load_handler
from conductor_loop.work.process import Abort
from conductor_loop.work.processor import Failure, File, Result

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
HOWTO = ROOT / "docs" / "howto" / "write-a-processor.md"


def load_generator() -> ModuleType:
    sys.path.append(str(REFERENCE))  # its parts are beside it, as for a script
    spec = importlib.util.spec_from_file_location("generate", REFERENCE / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    for name, child in commands_below(command).items():
        yield from commands(child, f"{path} {name}")


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def code(page: Path, language: str) -> list[str]:
    """
    Return the blocks of code of one language in a page.
    """
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


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


def test_keys_of_a_deed_are_known_before_it_is_done() -> None:
    """Those of its document, as they are documented: `--field` asks for one of them, or nothing is done."""
    from json_page import DOCUMENTS  # type: ignore[import-not-found] # a script's

    known = {}
    for path in DOCUMENTS:
        command = COMMANDS[f"conductor-loop {path}"]
        field = next(option for option in command.params if option.name == "field")
        try:
            field.process_value(click.Context(command), "nonsense")
        except click.BadParameter as refused:
            known[path] = refused.message.partition("there are version, ")[2].split(", ")

    assert known == {path: list(DOCUMENTS[path]) for path in known}
    assert set(known) == {"files retry", "pause", "resume", "drain", "reload", "db upgrade", "db backup"}


def prose(page: Path) -> str:
    """
    Return a page without its blocks of code.
    """
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[tuple[Path, str]]:
    """
    Return the files that a page points to, each with an anchor in it or "".
    """
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    local = [target.partition("#") for target in targets if "://" not in target]
    return [((page.parent / path).resolve() if path else page, anchor) for path, _, anchor in local]


def anchors(page: Path) -> set[str]:
    """
    Return the anchors of a page's headings, as GitHub and most others make them.
    """
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    """Files that a page points to are there, and so are the headings in them."""
    assert [str(target) for target, _ in links(page) if not target.exists()] == []
    assert [
        (str(target), anchor) for target, anchor in links(page) if anchor and anchor not in anchors(target)
    ] == []


def test_index_names_every_page() -> None:
    """Whoever looks for something finds it from docs/README.md."""
    index = ROOT / "docs" / "README.md"
    found = {target for target, _ in links(index)}

    assert [page_name(page) for page in PAGES if page != index and page not in found] == []


def test_readme_leads_to_the_index() -> None:
    """And with it to everything."""
    assert ROOT / "docs" / "README.md" in {target for target, _ in links(ROOT / "README.md")}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
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


@pytest.mark.parametrize("page", [ROOT / "README.md", HOWTO], ids=page_name)
def test_configurations_that_are_shown_are_right(page: Path, tmp_path: Path) -> None:
    """Nobody copies a mistake from us."""
    blocks = code(page, "toml")

    assert blocks
    for number, block in enumerate(blocks):
        path = tmp_path / f"{number}.toml"
        path.write_text(block)
        assert load_config(path, environ={}, flags={}, strict=True).warnings == ()


def make_file(path: Path, *, seconds: float = 100.0) -> File:
    return File(
        path=path,
        name=path.name,
        id="store-7",
        attempt=1,
        sha256="",
        data=path.read_bytes(),
        deadline=Deadline.after(seconds),
    )


def call_handler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, **more: float) -> Result:
    """
    Call the handler of the how-to as the agent does: found by its reference, in a directory of `PYTHONPATH`.
    """
    (tmp_path / "jobs.py").write_text(code(HOWTO, "python")[0])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "jobs", raising=False)
    handler = load_handler("jobs:handle")
    monkeypatch.setattr(sys.modules["jobs"], "OUT", tmp_path / "out")
    dropped = tmp_path / "a.json"
    dropped.write_text(content)
    processor = HandlerProcessor(handler, timeout=10.0, output_limit=1000)
    return processor.run(make_file(dropped, **more), lambda pid, start_time: None)


def test_handler_of_the_howto_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its result is there, and its text is the message."""
    (tmp_path / "out").mkdir()

    assert call_handler(monkeypatch, tmp_path, "[1, 2, 3]").ending == Succeeded("the sum is 6")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["store-7.total"]


def test_handler_of_the_howto_asks_for_another_attempt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After the time that it names, or after the usual one."""
    early = call_handler(monkeypatch, tmp_path, "[1]").ending
    (tmp_path / "out").mkdir()
    late = call_handler(monkeypatch, tmp_path, "[1]", seconds=0.0).ending
    wrong = call_handler(monkeypatch, tmp_path, "{").ending

    assert isinstance(early, Failure)
    assert (early.asked, early.asked_delay) == (True, 30)
    assert late == Failure(Kind.HANDLER_ERROR, "not done in time, attempt 1", asked=True)
    assert isinstance(wrong, Failure)
    assert not wrong.asked


def test_program_of_the_howto_runs(tmp_path: Path) -> None:
    """Twice on the same file, which does no harm; without its directory it asks for another attempt."""
    program, out, dropped = tmp_path / "work-on", tmp_path / "out", tmp_path / "a.json"
    program.write_text(code(HOWTO, "sh")[0])
    program.chmod(0o700)
    dropped.write_text("12345")
    abort = Abort()
    processor = CommandProcessor(
        [str(program), "{path}", "--into", "{out_dir}"],
        out_dir=str(out),
        timeout=10.0,
        kill_grace=1.0,
        output_limit=1000,
        environ=os.environ,
        abort=abort,
    )

    early = processor.run(make_file(dropped), lambda pid, start_time: None)
    out.mkdir()
    first, second = (processor.run(make_file(dropped), lambda pid, start_time: None) for _ in range(2))
    abort.close()

    assert early.run
    assert early.run.exit_code == 75
    assert first.ending == second.ending == Succeeded()
    assert (out / "store-7.count").read_text().strip() == "5"


def test_every_field_of_a_file_is_in_the_howto() -> None:
    """A handler's author sees what there is."""
    assert [name for name in File._fields if f"| `{name}` | " not in HOWTO.read_text()] == []
