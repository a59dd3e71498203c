"""
`doctor`: the same in words and as JSON, with the exit code for it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conductor_loop import cli
from ports import free_port


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(
        f'[agent]\nhandoff_dir = "{tmp_path}/handoff"\nstate_dir = "{tmp_path}/state"\nmin_free = "1B"\n'
        f'[processor]\ncommand = ["/bin/true", "{{path}}"]\nout_dir = "{tmp_path}/out"\n'
        f"[http]\nmetrics_port = {free_port()}\n"
    )
    return path


def doctor(*arguments: object) -> object:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--config", *map(str, arguments)])
    return caught.value.code


def test_sound_surroundings(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, a line for each check, and what the next start finds; nothing is made."""
    assert doctor(config, "doctor") == 0

    said = capsys.readouterr()
    assert said.err == ""
    assert f"configuration  {config}: can be used" in said.out
    assert "the next start finds nothing to recover" in said.out
    assert " failed" not in said.out.splitlines()[-1]
    assert list(config.parent.iterdir()) == [config]


def test_failed_check_has_a_hint_and_exit_code_1(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In words and as JSON alike."""
    config.write_text(config.read_text().replace("/bin/true", "/no/such/program"))

    assert doctor(config, "doctor") == 1
    words = capsys.readouterr().out
    assert doctor(config, "doctor", "-o", "json") == 1
    document = json.loads(capsys.readouterr().out)

    assert "failed   command" in words
    assert "hint: install it, or give its full path" in words
    assert words.splitlines()[-1].endswith("1 failed")
    (check,) = [check for check in document["checks"] if check["result"] == "failed"]
    assert check == {
        "name": "command",
        "result": "failed",
        "message": "/no/such/program: no such program",
        "hint": "install it, or give its full path",
    }


def test_json_has_a_version(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shape that scripts rely on."""
    stray = config.parent / "handoff" / "work" / "agent" / "0" / "intent-a.json"
    stray.parent.mkdir(parents=True)
    stray.touch()

    assert doctor(config, "doctor", "-o", "json") == 0

    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["version", "passed", "running", "user", "checks", "recovery"]
    assert (document["version"], document["passed"], document["running"]) == (1, True, False)
    assert document["recovery"] == [
        {"action": "adopt", "message": "agent/0/intent-a.json has no row: take it as a new file"}
    ]


def test_bad_configuration_is_a_failed_check(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, not 78: it is what the doctor has found."""
    config.write_text("[agent]\nmax_workers = 0\n")

    assert doctor(config, "doctor") == 1

    said = capsys.readouterr()
    assert said.err == ""
    assert f"failed   configuration  {config}: [agent] max_workers = 0" in said.out
    assert "recover" not in said.out


def test_missing_configuration_is_a_failed_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its path."""
    assert doctor(tmp_path / "missing.toml", "doctor") == 1

    assert f"{tmp_path}/missing.toml: cannot be read" in capsys.readouterr().out


def test_long_recovery_is_cut_in_words_and_not_in_json(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page is enough for people."""
    for slot in range(25):
        stray = config.parent / "handoff" / "work" / "agent" / str(slot) / "intent-a.json"
        stray.parent.mkdir(parents=True)
        stray.touch()

    doctor(config, "doctor")
    words = capsys.readouterr().out
    doctor(config, "doctor", "-o", "json")
    document = json.loads(capsys.readouterr().out)

    assert "and so on, 25 files in all" in words
    assert len(document["recovery"]) == 25


def test_escapes_in_names_do_nothing_to_a_terminal(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever drops files chooses their names."""
    stray = config.parent / "handoff" / "work" / "agent" / "0" / "intent-\033[31m.json"
    stray.parent.mkdir(parents=True)
    stray.touch()

    doctor(config, "doctor")

    assert "\033" not in capsys.readouterr().out
