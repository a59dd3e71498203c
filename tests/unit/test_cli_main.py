"""
The boundary: options before the command, exit codes, what is imported when.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from conductor_loop import __version__, cli, errors
from conductor_loop.cli import session

HEAVY = (
    "sqlalchemy",
    "alembic",
    "bottle",
    "tornado",
    "psutil",
    "watchdog",
    "prometheus_client",
    "jsonschema_rs",
)


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "conductor_loop", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], **environ},
    )


def exit_code(*arguments: str) -> object:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    return caught.value.code


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "DIRECTORY", tmp_path)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout, in one line."""
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"conductor-loop {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["run", "--help"], ["db", "upgrade", "--help"]]
)
def test_help_is_quick(arguments: list[str]) -> None:
    """Neither the database's nor the server's libraries are imported for it."""
    script = (
        "import sys\n"
        "from conductor_loop.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        f"finally:\n    print('loaded:', [name for name in {HEAVY} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["--nonsense"],
        ["run", "extra"],
        ["health", "--wait", "soon"],
        ["status", "--url", "ftp://x"],
        ["--instance", "../x", "check-config"],
        ["--config", "a", "--instance", "b", "check-config"],
    ],
)
def test_wrong_usage_is_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With words on stderr and nothing on stdout."""
    assert exit_code(*arguments) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (errors.ConfigError("one", "two"), 78, "one\ntwo\n"),
        (errors.StoreError("locked"), 74, "locked\n"),
        (errors.UnreachableError("nobody"), 3, "nobody\n"),
        (errors.PermissionDeniedError("not you"), 77, "not you\n"),
        (
            PermissionError(13, "Permission denied", "/secret"),
            77,
            "/secret: no permission; run as the agent's user\n",
        ),
        (KeyboardInterrupt(), 130, ""),
        (
            RuntimeError("surprise"),
            70,
            "RuntimeError: surprise\ninternal error: this is a bug of conductor-loop\n",
        ),
    ],
)
def test_every_error_has_its_code(
    error: BaseException,
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a command raises becomes words on stderr and the documented code."""

    @click.command()
    def fails() -> None:
        raise error

    monkeypatch.setitem(cli.cli.commands, "fails", fails)

    assert exit_code("fails") == code
    assert capsys.readouterr().err.lstrip("\n").endswith(said)


@pytest.mark.usefixtures("node")
def test_without_options_the_nodes_configuration_is_used_if_there_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the built-in defaults."""
    assert exit_code("check-config") == 0
    (tmp_path / "agent.toml").touch()
    assert exit_code("check-config") == 0

    assert capsys.readouterr().out == f"built-in defaults: ok\n{tmp_path}/agent.toml: ok\n"


@pytest.mark.usefixtures("node")
def test_instance_names_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And it must exist."""
    (tmp_path / "west.toml").touch()

    assert exit_code("--instance", "west", "check-config") == 0
    assert exit_code("--instance", "east", "check-config") == 78

    said = capsys.readouterr()
    assert said.out == f"{tmp_path}/west.toml: ok\n"
    assert f"{tmp_path}/east.toml: cannot be read" in said.err


@pytest.mark.usefixtures("node")
def test_typed_option_beats_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance typed by hand is meant, whatever file the environment names, and the other way round."""
    for name in ("file", "west"):
        (tmp_path / f"{name}.toml").touch()
    monkeypatch.setenv("CONDUCTOR_LOOP_CONFIG", str(tmp_path / "file.toml"))
    exit_code("check-config")
    exit_code("--instance", "west", "check-config")
    monkeypatch.delenv("CONDUCTOR_LOOP_CONFIG")
    monkeypatch.setenv("CONDUCTOR_LOOP_INSTANCE", "west")
    exit_code("check-config")
    exit_code("--config", f"{tmp_path}/file.toml", "check-config")

    names = [Path(line.removesuffix(": ok")).name for line in capsys.readouterr().out.splitlines()]
    assert names == ["file.toml", "west.toml", "west.toml", "file.toml"]


def test_log_level_of_the_environment_is_a_matter_of_configuration() -> None:
    """A bad one is a bad configuration, not a wrong use."""
    done = run("check-config", CONDUCTOR_LOOP_LOG_LEVEL="loud")

    assert done.returncode == 78
    assert done.stderr.startswith('environment: CONDUCTOR_LOOP_LOG_LEVEL = "loud": ')


def test_name_that_the_terminal_lacks_does_not_crash(tmp_path: Path) -> None:
    """Such characters are escaped."""
    path = tmp_path / "\u2603.toml"
    path.touch()
    done = run("check-config", str(path), PYTHONIOENCODING="latin-1:strict")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path}/\\u2603.toml: ok\n"
