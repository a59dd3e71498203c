"""
One owner per directory.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from conductor_loop.errors import CommandAtWorkError, ConfigError, OwnedError
from conductor_loop.ledger.locks import (
    LOCK_NAME,
    DirectoryLock,
    Role,
    _is_file,
    agent_at,
    await_free,
    holder,
    lock_for_command,
)

AGENT_ROOT = Path(__file__).parent.parent.parent / "agent"
HOLDER = """
import sys, threading
sys.path.insert(0, sys.argv[2])
from conductor_loop.ledger.locks import DirectoryLock
lock = DirectoryLock(sys.argv[1], "the other agent (pid 7)")
print("held", flush=True)
threading.Event().wait(60)
"""


def test_second_holder_is_refused_and_told_the_first(tmp_path: Path) -> None:
    """
    With what to do about it.
    """
    with closing(DirectoryLock(tmp_path, "agent 'one' (pid 1)")), pytest.raises(OwnedError) as refused:
        DirectoryLock(tmp_path, "agent 'two' (pid 2)")

    assert f"{tmp_path} is in use by agent 'one' (pid 1); one agent at a time" in str(refused.value)
    assert refused.value.exit_code == 78


def test_refused_holder_changes_nothing(tmp_path: Path) -> None:
    """
    The third one is told the first as well.
    """
    with closing(DirectoryLock(tmp_path, "agent 'one'")):
        for _ in range(2):
            with pytest.raises(OwnedError, match="agent 'one'"):
                DirectoryLock(tmp_path, "a much longer line of another agent")


def test_close_frees_it(tmp_path: Path) -> None:
    """
    And twice is as good as once; the next holder's line replaces the longer one before it.
    """
    lock = DirectoryLock(tmp_path, "agent with a rather long name")
    lock.close()
    lock.close()

    with closing(DirectoryLock(tmp_path, "next")):
        assert (tmp_path / LOCK_NAME).read_text() == "agent next\n"


def test_death_of_the_holder_frees_it(tmp_path: Path) -> None:
    """
    However it dies: there is no stale lock to delete by hand.
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path, AGENT_ROOT], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OwnedError, match=r"the other agent \(pid 7\)"):
            DirectoryLock(tmp_path, "me")
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)

    DirectoryLock(tmp_path, "me").close()


def test_child_of_the_holder_does_not_hold_it(tmp_path: Path) -> None:
    """
    A command that outlives the agent must not keep the next agent out.
    """
    lock = DirectoryLock(tmp_path, "me")
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            lock.close()
            DirectoryLock(tmp_path, "next").close()
        finally:
            child.kill()


def test_holder_that_wrote_nothing_is_unknown(tmp_path: Path) -> None:
    """
    It died, or is about to write its line.
    """
    with closing(DirectoryLock(tmp_path, "me")):
        os.truncate(tmp_path / LOCK_NAME, 0)
        with pytest.raises(OwnedError, match="an unknown process"):
            DirectoryLock(tmp_path, "next")


def test_command_that_ends_is_waited_for(tmp_path: Path) -> None:
    """
    An agent takes the directory over from it, and so does another command.
    """
    for role in Role:
        with soon(lock_for_command(tmp_path).close):
            DirectoryLock(tmp_path, "me", role=role, patience=20).close()
        with soon(lock_for_command(tmp_path).close):
            await_free(tmp_path, 20)


def test_command_that_goes_on_is_named(tmp_path: Path) -> None:
    """
    With what to do; it is no mistake in the configuration.
    """
    words = f"another conductor-loop command (pid {os.getpid()}) is at work in {tmp_path}; try again"
    with closing(lock_for_command(tmp_path)):
        with pytest.raises(CommandAtWorkError) as locking:
            DirectoryLock(tmp_path, "me", patience=0.1)
        with pytest.raises(CommandAtWorkError) as awaiting:
            await_free(tmp_path, 0.1)

    assert str(locking.value) == str(awaiting.value) == words
    assert locking.value.exit_code == 1


def test_agent_is_not_waited_for(tmp_path: Path) -> None:
    """
    It stays; who waited for it would only be told later.
    """
    began = time.monotonic()
    with closing(DirectoryLock(tmp_path, "the agent 'one'")):
        with pytest.raises(OwnedError, match="in use by the agent 'one'"):
            lock_for_command(tmp_path)
        with pytest.raises(OwnedError, match="in use by the agent 'one'"):
            await_free(tmp_path, 20)
    assert time.monotonic() - began < 5


def test_line_of_the_holder_before_does_not_stand_for_the_one_of_now(tmp_path: Path) -> None:
    """
    An agent was killed, and a command that has just taken the directory has not written its own line yet.
    """
    lock = lock_for_command(tmp_path)
    own = (tmp_path / LOCK_NAME).read_text()
    (tmp_path / LOCK_NAME).write_text("agent the agent 'one', process 7\n")

    def go_on() -> None:
        (tmp_path / LOCK_NAME).write_text(own)
        lock.close()

    with soon(go_on, seconds=0.02):
        DirectoryLock(tmp_path, "me", patience=20).close()


def test_only_an_agent_is_one(tmp_path: Path) -> None:
    """
    Commands that ask for the agent need not wait for another command.
    """
    with closing(lock_for_command(tmp_path)):
        assert agent_at(tmp_path) is None
    with closing(DirectoryLock(tmp_path, "the agent 'one'")):
        assert agent_at(tmp_path) == (os.getpid(), "the agent 'one'", Role.AGENT)


@contextmanager
def soon(act: Callable[[], object], seconds: float = 0.15) -> Iterator[None]:
    timer = threading.Timer(seconds, act)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_symlink_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """
    It would empty the file that it names.
    """
    (tmp_path / "precious").write_text("keep")
    (tmp_path / LOCK_NAME).symlink_to("precious")

    with pytest.raises(ConfigError, match="symbolic links"):
        DirectoryLock(tmp_path, "me")
    assert (tmp_path / "precious").read_text() == "keep"


def test_holder_is_known_without_a_try_to_lock(tmp_path: Path) -> None:
    """
    By pid and by what it says of itself; a directory that was given back, or never was one's, has none.
    """
    assert holder(tmp_path) is None
    with closing(DirectoryLock(tmp_path, "agent 'one'")):
        assert holder(tmp_path) == (os.getpid(), "agent 'one'", Role.AGENT)
    assert holder(tmp_path) is None
    assert holder(tmp_path / "missing") is None


def test_holder_that_says_nothing_has_a_number(tmp_path: Path) -> None:
    """
    The disk was full when it locked.
    """
    with closing(DirectoryLock(tmp_path, "agent 'one'")):
        os.truncate(tmp_path / LOCK_NAME, 0)

        assert holder(tmp_path) == (os.getpid(), f"process {os.getpid()}", Role.AGENT)


@pytest.mark.parametrize(
    ("place", "ours"),
    [("fe:01:12345", True), ("fe:02:12345", False), ("fe:01:12346", False), ("00:2d:12345", False)],
)
def test_lock_is_known_by_device_and_inode(place: str, ours: bool) -> None:
    """
    As the kernel's table of locks has them, in hexadecimal numbers and a decimal one.
    """
    assert _is_file(place, found_at(os.makedev(0xFE, 1), 12345)) is ours


def test_lock_on_a_file_system_without_a_device_is_known_by_its_inode() -> None:
    """
    There the table has another device than stat has.
    """
    assert _is_file("00:1a:12345", found_at(os.makedev(0, 0x2D), 12345))
    assert not _is_file("fe:01:12345", found_at(os.makedev(0, 0x2D), 12345))


def found_at(device: int, inode: int) -> os.stat_result:
    return os.stat_result((0o100640, inode, device, 1, 0, 0, 0, 0, 0, 0))
