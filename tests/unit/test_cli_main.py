"""
The boundary: options before the command, exit codes, what is imported when.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from conductor_loop import __version__, cli, errors
from conductor_loop.cli import session
from conductor_loop.config import KEYS

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
        ["--config", "", "check-config"],
        ["--instance", "", "check-config"],
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
        (
            OSError(28, "No space left on device"),
            70,
            "OSError: [Errno 28] No space left on device\ninternal error: this is a bug of conductor-loop\n",
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


@pytest.mark.parametrize(
    ("arguments", "code"), [("check-config", 0), ("--config /missing check-config", 78), ("nonsense", 2)]
)
@pytest.mark.parametrize("how", [">&-", "2>&- >&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_exit_code_is_the_same_without_streams(arguments: str, code: int, how: str) -> None:
    """Closed by whoever started us, or full: scripts see what happened all the same."""
    words = f'exec "$0" -m conductor_loop {arguments} {how}'
    done = subprocess.run(["/bin/sh", "-c", words, sys.executable], capture_output=True, check=False)

    assert done.returncode == code


LONG = """
import click
from conductor_loop import cli
cli.cli.add_command(click.Command("long", callback=lambda: click.echo("x" * 1_000_000)))
cli.main(["long"])
"""
#: As a shell has it: unbuffered, Python loses what a pipe does not take at once, and says nothing.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.mark.parametrize(
    "arguments",
    [
        "-m conductor_loop --help",
        "-m conductor_loop files list --help",
        "-m conductor_loop config show",
        '-c "$LONG"',
    ],
)
def test_full_disk_behind_stdout_is_told_in_a_line(arguments: str) -> None:
    """However much there is to write: an answer that nobody got is a failure, and none of ours."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" {arguments} >/dev/full', sys.executable],
        capture_output=True,
        text=True,
        check=False,
        env={**BUFFERED, "LONG": LONG},
    )

    assert (done.returncode, done.stderr) == (1, "cannot write the output: No space left on device\n")


def test_reader_that_has_seen_enough_is_told_nothing() -> None:
    """As with every program in front of `head`."""
    words = 'exec 3>&1; { "$0" -c "$LONG"; echo $? >&3; } | head -c 1 >/dev/null'
    done = subprocess.run(
        ["/bin/sh", "-c", words, sys.executable],
        capture_output=True,
        text=True,
        check=False,
        env={**BUFFERED, "LONG": LONG},
    )

    assert (done.stdout, done.stderr) == ("1\n", "")


def test_question_without_stdin_is_not_asked() -> None:
    """Closed by whoever started us: nobody can be asked, which is said."""
    words = 'exec "$0" -m conductor_loop files retry --failed <&-'
    done = subprocess.run(
        ["/bin/sh", "-c", words, sys.executable], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "add --yes" in done.stderr


def test_every_variable_of_the_reference_is_known() -> None:
    """Those of options, at whatever depth; none is warned of as unknown."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "command-line.md").read_text()
    documented = set(re.findall(r"`(CONDUCTOR_LOOP_[A-Z_]+)`", page)) - {
        key.variable for key in KEYS.values()
    }

    known = set(session.option_variables(cli.cli, "CONDUCTOR_LOOP"))
    assert documented <= known
    assert {"CONDUCTOR_LOOP_CONFIG", "CONDUCTOR_LOOP_RUN_ONCE", "CONDUCTOR_LOOP_DB_CURRENT_OUTPUT"} <= known
    assert "CONDUCTOR_LOOP_LOG_LEVEL" not in known


def test_unknown_variable_is_told_and_known_ones_are_not() -> None:
    """A misspelt setting would else be no setting, in silence."""
    given = {"CONDUCTOR_LOOP_RUN_ONCE": "1", "CONDUCTOR_LOOP_STATUS_OUTPUT": "json"}
    quiet = run("check-config", **given)
    told = run("check-config", **given, CONDUCTOR_LOOP_CONFG="x")

    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert told.returncode == 0
    assert told.stderr.startswith("warning: environment: CONDUCTOR_LOOP_CONFG: unknown variable; ")
    assert told.stderr.endswith('did you mean "CONDUCTOR_LOOP_CONFIG"?\n')
    assert run("check-config", "--strict", CONDUCTOR_LOOP_CONFG="x").returncode == 78
