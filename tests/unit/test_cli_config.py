"""
`config show`: what the configuration is in the end, and where it came from.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from conductor_loop import config
from conductor_loop.cli.config import redacted
from conductor_loop.config import Config, Store
from fake_admin import Console, FakeAgent, serve


@pytest.fixture
def console(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Console:
    return Console(tmp_path, capsys)


def test_what_is_shown_is_a_configuration_with_the_same_values(console: Console, tmp_path: Path) -> None:
    """It can be used as a file, whatever is in the values."""
    odd = '[agent]\nhandoff_dir = "/srv/a \\"b\\" \\\\ é \\u007f"\n[processor]\ncommand = ["x", "{path}", "\\t"]\n'
    console.config.write_text(odd)
    said = console.run("config", "show")
    copy = tmp_path / "copy.toml"
    copy.write_text(said.out)

    assert (said.code, said.err) == (0, "")
    first, second = (config.load(path, environ={}, flags={}).config for path in (console.config, copy))
    assert first == second
    assert tomllib.loads(said.out)["agent"]["handoff_dir"] == '/srv/a "b" \\ é \x7f'


def test_origin_is_said_of_each_value(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a comment, so that it stays a configuration."""
    monkeypatch.setenv("CONDUCTOR_LOOP_AGENT_PATTERN", "*.json")

    said = console.run("--log-level", "debug", "config", "show", "--origin")

    lines = said.out.splitlines()
    assert f'state_dir = "{console.state}"  # file {console.config}' in lines
    assert 'pattern = "*.json"  # environment CONDUCTOR_LOOP_AGENT_PATTERN' in lines
    assert 'level = "debug"  # flag --log-level' in lines
    assert "max_workers = 4  # default" in lines
    tomllib.loads(said.out)


def test_document_has_values_origins_and_hash(console: Console) -> None:
    """One value of it is picked by the dotted name of its key."""
    document = console.run("config", "show", "-o", "json").document

    assert list(document) == ["version", "file", "config_hash", "config", "origins"]
    assert document["file"] == str(console.config)
    assert document["origins"]["agent.name"] == "default"
    assert console.run("config", "show", "--field", "config.agent.settle").out == "500ms\n"


def test_secrets_are_not_shown() -> None:
    """Only that there is one."""
    assert redacted(Config(store=Store(url="postgresql://user:password@db/x")))["store"] == {
        "url": "(secret)"
    }
    assert redacted(Config())["store"] == {"url": ""}


def test_another_configuration_of_the_running_agent_is_told_of(console: Console) -> None:
    """On stderr, as the answer is another thing; with the same one there is no word of it."""
    agent = FakeAgent()
    with serve(agent, console.socket):
        other = console.run("config", "show")
        agent.health["config_hash"] = console.run("config", "show", "--field", "config_hash").out.strip()
        same = console.run("config", "show")

    assert other.code == 0
    assert "warning: the running agent has another configuration (0123456789ab" in other.err
    assert same.err == ""


def test_reload_is_no_help_where_the_environment_differs(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent does not see the variables of this shell; it would find nothing changed."""
    with serve(FakeAgent(), console.socket):
        plain = console.run("config", "show").err
        monkeypatch.setenv("CONDUCTOR_LOOP_AGENT_MAX_WORKERS", "8")
        other = console.run("config", "show").err

    assert f"`conductor-loop --config {console.config} reload --dry-run` shows what differs" in plain
    assert "reload" not in other
    assert "with other options or environment variables, or the file has changed since" in other


def test_bad_configuration_is_not_shown(console: Console) -> None:
    """Its problems are, with their exit code."""
    console.config.write_text("[agent]\nmax_workers = 0\n")

    said = console.run("config", "show")

    assert (said.code, said.out) == (78, "")
    assert "max_workers" in said.err
