"""
Who is asked: the agent's socket, or this process; and what becomes of everything that can be wrong there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from conductor_loop import cli, clock
from conductor_loop.cli import door
from conductor_loop.cli.admin import _call, _document, connect
from conductor_loop.cli.door import Door
from conductor_loop.cli.session import Session
from conductor_loop.config import LONGEST_SOCKET_PATH
from conductor_loop.errors import (
    BusyError,
    ConductorError,
    ConfigError,
    ForcedStopError,
    OwnedError,
    UnreachableError,
)
from conductor_loop.ledger.locks import DirectoryLock, lock_for_command
from conductor_loop.store.database import Store
from fake_admin import Console, FakeAgent, serve
from surroundings import AS_NOBODY, NOBODY, missing, need_root


@pytest.fixture
def console(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Console:
    return Console(tmp_path, capsys)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "PATIENCE_SECONDS", 0.0)


@contextmanager
def locked(state: Path) -> Iterator[None]:
    lock = DirectoryLock(state, 'agent "west", process 4711')
    try:
        yield
    finally:
        lock.close()


def test_request_reaches_the_agent(console: Console) -> None:
    """And what it answers is told."""
    agent = FakeAgent()
    with serve(agent, console.socket):
        assert console.run("pause", "--message", "maintenance").code == 0

    assert agent.asked == ["POST /api/v1/pause"]
    assert agent.pauses["operator"]["message"] == "maintenance"


@pytest.mark.usefixtures("impatient")
def test_locked_directory_without_an_answer_names_the_holder(console: Console) -> None:
    """Nothing is done beside an agent that runs; how it can be reached again is said."""
    with locked(console.state):
        said = console.run("pause")

    assert (said.code, said.out) == (3, "")
    assert 'in use by agent "west", process 4711' in said.err
    assert f"nobody answers at {console.socket}" in said.err
    assert "[admin] socket" in said.err


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("left_over", ["socket", "file", "directory"])
def test_what_was_left_over_there_is_no_agent(console: Console, left_over: str) -> None:
    """A crash leaves its socket behind."""
    if left_over == "socket":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(console.socket))
    elif left_over == "file":
        console.socket.touch()
    else:
        console.socket.mkdir()

    assert Door(console.socket, console.state).knock() is None


def test_agent_that_is_just_starting_is_waited_for(console: Console) -> None:
    """It holds the directory before it listens."""
    agent, listening = FakeAgent(), threading.Event()
    with locked(console.state):
        asking = threading.Timer(0.2, listening.set)
        asking.start()
        try:
            reached = Door(console.socket, console.state)
            with pytest.raises(UnreachableError):
                _without_patience(reached)
            listening.wait(5)
            with serve(agent, console.socket):
                connection = reached.knock()
                assert connection is not None
                connection.close()
        finally:
            asking.join()


def _without_patience(reached: Door) -> None:
    before, door.PATIENCE_SECONDS = door.PATIENCE_SECONDS, 0.0
    try:
        reached.knock()
    finally:
        door.PATIENCE_SECONDS = before


def test_holding_is_seen_without_taking_the_lock(console: Console) -> None:
    """Trying it could keep an agent from starting."""
    reached = Door(console.socket, console.state)

    assert not reached.held()
    with locked(console.state):
        assert reached.held()
    assert not reached.held()
    fd = os.open(console.state / ".owner", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)


@pytest.mark.parametrize("command", ["pause", "resume", "drain", "files retry 1 2", "db upgrade", "doctor"])
def test_command_beside_another_one_without_an_agent(
    console: Console, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """All are told the same, with exit code 1, once they have waited; none waits for an agent that does not run."""
    for module in ("app.inheritance", "app.foundation", "app.doctor", "ledger.locks"):
        monkeypatch.setattr(f"conductor_loop.{module}.PATIENCE_SECONDS", 0.1)
    Store.open(console.state, now=clock.now_us()).close()
    words = f"another conductor-loop command (pid {os.getpid()}) is at work in {console.state}; try again"
    with closing(lock_for_command(console.state)):
        assert console.run("files", "list").code == 0
        said = console.run(*command.split())

    assert said.code == 1
    assert words in said.out if command == "doctor" else said.err.splitlines()[-1] == words
    assert "not known" not in said.err


def test_many_requests_give_way_to_an_agent_that_starts(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an agent a command that retries thousands of files would keep one from starting."""
    monkeypatch.setattr("conductor_loop.cli.admin.TURN_SECONDS", 0.3)
    Store.open(console.state, now=clock.now_us()).close()
    others = threading.Thread(target=lambda: DirectoryLock(console.state, "agent", patience=20).close())
    with connect(Session(console.config, None, cli.cli, "CONDUCTOR_LOOP")) as admin:
        admin.post("/api/v1/resume")
        others.start()
        deadline = time.monotonic() + 15
        while others.is_alive() and time.monotonic() < deadline:
            admin.post("/api/v1/resume")
            admin.rest(0.0)
        assert not others.is_alive()
    others.join()


@pytest.mark.parametrize("alive", [True, False])
def test_agent_that_has_come_meanwhile_is_asked(console: Console, *, alive: bool) -> None:
    """Nothing was done without it; where it holds other directories of ours, that is said."""
    Store.open(console.state, now=clock.now_us()).close()
    agent = FakeAgent()
    folder = console.state if alive else console.state.parent / "handoff" / "work"
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        admin = stack.enter_context(connect(Session(console.config, None, cli.cli, "CONDUCTOR_LOOP")))
        stack.enter_context(closing(DirectoryLock(folder, "the agent 'west', process 4711")))
        if alive:
            stack.enter_context(serve(agent, console.socket))
            assert admin.door is None
            admin.post("/api/v1/pause", message="maintenance")
            assert admin.door is not None
            assert agent.pauses["operator"]["message"] == "maintenance"
        else:
            with pytest.raises(OwnedError, match="in use by the agent 'west', process 4711"):
                admin.post("/api/v1/pause", message="maintenance")
            assert admin.door is None


def test_path_that_no_socket_can_have_is_named(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the limit, and the key that sets a shorter one."""
    monkeypatch.setattr(door, "PATIENCE_SECONDS", 0.0)
    long = console.state / ("x" * LONGEST_SOCKET_PATH)
    with locked(console.state), pytest.raises(UnreachableError, match=r"107: set \[admin\] socket") as caught:
        Door(long, console.state).knock()

    assert f"{len(str(long))} bytes" in str(caught.value)


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_agent_that_breaks_off_leaves_it_open_whether_it_was_done(console: Console, verb: str) -> None:
    """How to find out is said; a question is just asked again."""
    agent = FakeAgent()
    agent.broken = True
    with serve(agent, console.socket):
        said = console.run(verb)

    assert (said.code, said.out) == (3, "")
    assert "it is not known whether this was done" in said.err
    assert "`conductor-loop status`" in said.err


def test_question_that_is_broken_off_can_be_asked_again(console: Console) -> None:
    """Nothing has changed by it."""
    agent = FakeAgent()
    agent.broken = True
    with serve(agent, console.socket):
        said = console.run("files", "list")

    assert said.code == 3
    assert said.err.endswith("; ask again\n")


@pytest.mark.parametrize("raw", [b"", b"hello", b"[]", b"[" * 100_000, b"\xff"])
def test_another_program_at_the_socket_is_no_agent(raw: bytes) -> None:
    """What answers in another way is not taken for an agent."""
    with pytest.raises(UnreachableError, match=r"\[admin\] socket"):
        _document(raw)


@pytest.mark.parametrize(
    ("kind", "code", "cls"),
    [
        ("busy", 1, BusyError),
        ("config", 78, ConfigError),
        ("unreachable", 3, UnreachableError),
        ("of_a_later_version", 42, ConductorError),
        ("forced_stop", 130, ConductorError),
    ],
)
def test_error_of_the_agent_is_the_same_error_here(kind: str, code: int, cls: type[ConductorError]) -> None:
    """With its message and its exit code."""
    raw = f'{{"error": "no ☃", "kind": "{kind}", "exit_code": {code}}}'

    with pytest.raises(ConductorError) as caught:
        _document(raw.encode())

    assert type(caught.value) is cls
    assert not isinstance(caught.value, ForcedStopError)
    assert (str(caught.value), caught.value.exit_code) == ("no ☃", code)
    assert ConductorError.exit_code == 1


def test_error_without_a_kind_is_a_failure() -> None:
    """As a proxy or another version may send it."""
    with pytest.raises(ConductorError) as caught:
        _document(b'{"error": "internal error"}')

    assert caught.value.exit_code == 1


def test_application_in_this_process_is_asked_like_one_elsewhere() -> None:
    """Path, query and body arrive as over a socket."""
    agent = FakeAgent()
    agent.add("intent-a.json")

    found = _document(_call(agent, "GET", "/api/v1/files", "limit=1", b""))
    paused = _document(_call(agent, "POST", "/api/v1/pause", "", b'{"message": "why"}'))

    assert [file["name"] for file in found["files"]] == ["intent-a.json"]
    assert paused["pauses"]["operator"]["message"] == "why"


def test_status_and_health_ask_the_socket_first(console: Console) -> None:
    """It answers even where there is no port."""
    agent = FakeAgent()
    with serve(agent, console.socket):
        assert console.run("status", "--field", "url") == (0, f"unix:{console.socket}\n", "")
        assert console.run("health", "--field", "verdict").out == "healthy\n"
    assert console.run("health", "-o", "json").document["verdict"] == "unreachable"
    told = console.run("status")

    assert told.code == 3
    assert told.err == (
        f"no agent runs (nobody answers at {console.socket}); start it with "
        f"`conductor-loop --config {console.config} run`\n"
    )


def test_instance_has_its_socket_in_the_run_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of an instance need not say it; what it says comes first."""
    monkeypatch.setattr("conductor_loop.cli.session.DIRECTORY", tmp_path)
    (tmp_path / "west.toml").touch()
    (tmp_path / "east.toml").write_text('[admin]\nsocket = "/tmp/east.sock"\n')

    def socket_of(path: Path) -> str:
        return Session(path, None, cli.cli, "CONDUCTOR_LOOP").load().config.admin.socket

    assert socket_of(tmp_path / "west.toml") == "/run/conductor-loop/west/admin.sock"
    assert socket_of(tmp_path / "east.toml") == "/tmp/east.sock"
    other = tmp_path / "elsewhere" / "west.toml"
    other.parent.mkdir()
    other.touch()
    assert socket_of(other) == ""


LISTEN = """
import os, socket, sys
os.setgid(int(sys.argv[2])), os.setuid(int(sys.argv[2]))
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("listening", flush=True)
sys.stdin.read()
"""


@contextmanager
def listening_as(uid: int, path: Path) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN, path, str(uid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"listening\n"
        yield
        process.stdin.close()


@pytest.fixture
def shared() -> Iterator[Path]:
    """
    Give a directory that everybody may use.
    """
    need_root()
    root = Path(tempfile.mkdtemp(prefix="conductor-loop-test-"))
    root.chmod(0o777)
    yield root
    shutil.rmtree(root)


@pytest.mark.root
def test_nothing_is_sent_to_a_stranger(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever listens there must be root, ourselves or the owner of the state directory."""
    console = Console(shared, capsys)
    console.state.chmod(0o777)
    with listening_as(NOBODY, console.socket):
        said = console.run("pause")
        os.chown(console.state, NOBODY, NOBODY)
        assert Door(console.socket, console.state).answers()

    assert (said.code, said.out) == (77, "")
    assert f"belongs to uid {NOBODY}" in said.err


@pytest.mark.root
def test_socket_of_a_group_we_are_not_in_names_it(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that an administrator knows what to join."""
    console = Console(shared, capsys)
    with serve(FakeAgent(), console.socket):
        console.socket.chmod(0o660)
        done = _as_nobody("--config", str(console.config), "pause")

    assert done.returncode == 77
    assert "as a member of the group root" in done.stderr


def _as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
    probe = subprocess.run([*AS_NOBODY, "--version"], capture_output=True, check=False)
    if probe.returncode:
        missing("the user nobody cannot read this checkout or its interpreter")
    return subprocess.run([*AS_NOBODY, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("mistake", ["[[[\n", '[processor]\ntimeout = "20 parsecs"\n'])
def test_agent_that_runs_can_be_asked_with_a_broken_configuration(console: Console, mistake: str) -> None:
    """It has one of its own; a warning says that there are mistakes."""
    good = console.config.read_text()
    agent = FakeAgent()
    agent.add("intent-a.json", "failed")
    commands = ("status", "health", "top", "files list", "files show 1", "pause", "resume", "drain")
    console.config.write_text(good.replace("[processor]", f"{mistake}[processor.x]"))
    with serve(agent, console.socket):
        for command in commands:
            said = console.run(*command.split())
            assert (said.code, said.out != "") == (0, True), command
            assert said.err == (
                f"warning: {console.config} has mistakes, see `conductor-loop check-config`; "
                "asking the agent that runs\n"
            )
    for command in commands:
        said = console.run(*command.split())
        assert (said.code, said.out) == (78, ""), command
        assert str(console.config) in said.err


def test_nothing_is_done_by_a_broken_configuration_without_an_agent(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent may end between two looks; what is left of its configuration is good for nothing then."""
    console.config.write_text(console.config.read_text() + '[retry]\nmax_attempts = "many"\n')
    monkeypatch.setattr(Door, "answers", lambda door: True)

    said = console.run("pause")

    assert (said.code, said.out) == (78, "")
    assert "max_attempts" in said.err
    assert list(console.state.iterdir()) == []


def test_forgotten_configuration_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing is found at the places that built-in defaults name, one thinks of them last."""
    monkeypatch.setattr("conductor_loop.cli.session.DIRECTORY", tmp_path)
    monkeypatch.setenv("CONDUCTOR_LOOP_AGENT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CONDUCTOR_LOOP_HTTP_METRICS_PORT", "0")
    for command, code in (("status", 3), ("files list", 74), ("db current", 74), ("top", 3)):
        with pytest.raises(SystemExit) as caught:
            cli.main(command.split())
        assert caught.value.code == code, command
        hint = "no configuration file was found, so built-in defaults are used; name yours with --config FILE"
        assert capsys.readouterr().err.splitlines()[-1] == hint


def test_named_configuration_is_not_said_to_be_missing(console: Console) -> None:
    """Only whoever gave none needs that hint."""
    assert "built-in defaults" not in console.run("files", "list").err
