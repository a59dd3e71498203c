"""
`files explain`: in words and as JSON, with the exit code for it.
"""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from conductor_loop import cli
from conductor_loop.store.changes import Changes
from conductor_loop.store.database import Store

GOOD = json.dumps({"intent_type": "scaling", "target": "odu", "namespace": "ran", "replicas": 3})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    (tmp_path / "handoff").mkdir()
    path.write_text(
        f'[agent]\nhandoff_dir = "{tmp_path}/handoff"\nstate_dir = "{tmp_path}/state"\nsettle = "10m"\n'
        "[http]\nmetrics_port = 0\n"
        f'[processor]\ncommand = ["/bin/true", "{{path}}", "two words"]\nout_dir = "{tmp_path}/out"\n'
    )
    return path


def drop(config: Path, content: str, name: str = "intent-a.json") -> Path:
    path = config.parent / "handoff" / name
    path.write_text(content)
    return path


def explain(config: Path, file: Path, *arguments: str) -> object:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--config", str(config), "files", "explain", str(file), *arguments])
    return caught.value.code


def rows(text: str) -> list[tuple[str, str]]:
    """Return the two columns."""
    width = len(text) - len(text.removeprefix("file").lstrip()) if text.startswith("file") else 0
    return [(line[:width].strip(), line[width:]) for line in text.splitlines()]


def test_good_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, the command line as a shell would take it, and when it would be taken."""
    path = drop(config, GOOD)

    assert explain(config, path) == 0

    said = dict(rows(capsys.readouterr().out))
    assert said["file"] == str(path)
    assert said["taken"].endswith("if it stays unchanged (10m in all; at once if it was renamed in)")
    assert said["acceptable"] == "yes"
    assert said["command"] == f"/bin/true {path.parent}/work/agent/0/intent-a.json 'two words'"
    assert said["timeout"] == "30s"
    assert said["again"].startswith("after exit code 75, timeout or signal: 10 attempts in all")


def test_bad_file_has_a_line_for_every_problem(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1."""
    assert explain(config, drop(config, '{"replicas": "many", "target": 1}')) == 1

    said = rows(capsys.readouterr().out)
    assert ("acceptable", "no: it is rejected, kind missing_field") in said
    assert len([value for name, value in said if name == "problem"]) == 4
    assert "command" not in dict(said)


def test_file_that_may_be_unfinished(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is rejected only if it stays so."""
    assert explain(config, drop(config, "{")) == 1

    assert "kind invalid_json, if it stays unchanged for " in capsys.readouterr().out


def test_ignored_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and why."""
    assert explain(config, drop(config, GOOD, "other.json")) == 1

    assert 'other.json: does not match agent.pattern = "intent-*.json"' in capsys.readouterr().out


def test_file_elsewhere(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said that it is explained as if it were dropped."""
    path = config.parent / "intent-b.json"
    path.write_text(GOOD)

    assert explain(config, path) == 0

    assert f"(as if it were put into {config.parent}/handoff)" in capsys.readouterr().out


def test_missing_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, one line."""
    assert explain(config, config.parent / "missing.json") == 1

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"{config.parent}/missing.json: No such file or directory")


def test_command_that_is_missing(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1: it would wait."""
    config.write_text(config.read_text().replace("/bin/true", "/no/such/program"))

    assert explain(config, drop(config, GOOD)) == 1

    assert "cannot be started, so that intake pauses: /no/such/program" in capsys.readouterr().out


def test_handler_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Instead of a command line."""
    config.write_text(f'{config.read_text()}kind = "python"\nhandler = "jobs:handle"\n')

    assert explain(config, drop(config, GOOD)) == 0

    said = dict(rows(capsys.readouterr().out))
    assert said["handler"] == "jobs:handle(file)"
    assert said["again"].startswith("if it raises Retry: ")


def test_json_has_a_version(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shape that scripts rely on, the same whatever comes of the file."""
    shapes = []
    for name, content in (("intent-a.json", GOOD), ("intent-b.json", "{}"), ("c", "")):
        explain(config, drop(config, content, name), "-o", "json")
        shapes.append(json.loads(capsys.readouterr().out))

    good, bad, ignored = shapes
    assert list(good) == list(bad) == list(ignored)
    assert list(good) == [
        "version",
        "path",
        "name",
        "entry",
        "in_handoff_dir",
        "fate",
        "ignored",
        "paused",
        "settling",
        "rejection",
        "problems",
        "command",
        "environment",
        "command_problem",
        "timeout_seconds",
        "retry",
    ]
    assert [document["fate"] for document in shapes] == ["run", "rejected", "ignored"]
    assert good["command"][-1] == "two words"
    assert bad["rejection"]["kind"] == "missing_field"
    assert (ignored["settling"], ignored["rejection"], ignored["command"]) == (None, None, None)


def test_escapes_in_names_do_nothing_to_a_terminal(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever drops files chooses their names."""
    explain(config, drop(config, GOOD, "intent-\033[31m.json"))

    assert "\033" not in capsys.readouterr().out


def test_pause_is_said_and_has_its_exit_code(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1; the guesses in the command line are called so."""
    state = tmp_path / "state"
    state.mkdir()
    with closing(Store.open(state, now=0)) as store:
        store.writer.commit(Changes(pauses={"drain": (1_795_419_798_000_000, "drained for maintenance")}))

    assert explain(config, drop(config, GOOD)) == 1

    said = capsys.readouterr().out
    since = "2026-11-23T07:43:18Z"
    assert (
        f"not while intake is paused: drain since {since}: drained for maintenance (`conductor-loop resume` ends it)"
        in said
    )
    assert "at once" not in said
    assert "(slot and id as they would be now; a file that comes before may have them)" in said
