"""
One owner per directory, by flock.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

from conductor_loop.errors import CommandAtWorkError, ConfigError, OwnedError, PermissionDeniedError

LOCK_NAME = ".owner"
PATIENCE_SECONDS = 10.0  #: for a command to end; one that takes longer gives the directory back in between
_LOOK_SECONDS = 0.05


class Role(enum.StrEnum):
    """
    What kind of process holds a directory.
    """

    AGENT = "agent"  #: until it is stopped
    COMMAND = "command"  #: for a moment


class Holder(NamedTuple):
    """
    Who holds a directory.
    """

    pid: int
    words: str  #: what it says of itself
    role: Role = Role.AGENT


class DirectoryLock:
    """
    The lock on a directory; held until `close` or the end of the process, however it ends.

    Args:
        directory: that is locked; must exist.
        owner: how others name who holds it, in one line.
        role: what that is.
        patience: seconds to wait at most while a command holds it; an agent would have to be stopped.

    Raises:
        CommandAtWorkError: if a command holds it.
        ConfigError: if nothing can be written there.
        PermissionDeniedError: if this user may not.
        OwnedError: if an agent holds it.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        owner: str,
        *,
        role: Role = Role.AGENT,
        patience: float = 0.0,
    ) -> None:
        path = os.path.join(directory, LOCK_NAME)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        except PermissionError as error:
            raise PermissionDeniedError(f"{path}: no permission; run as the agent's user") from error
        except OSError as error:
            raise ConfigError(
                f"{path}: {error.strerror}; the agent's user must be able to write this file"
            ) from error
        try:
            self._take(directory, patience)
        except BaseException:
            self.close()
            raise
        with contextlib.suppress(OSError):  # a full disk; the name is a courtesy, the lock is held without it
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{role} {owner}\n".encode(), 0)

    def close(self) -> None:
        """
        Give the directory free; safe to call twice.
        """
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _take(self, directory: str | os.PathLike[str], patience: float) -> None:
        ends_at = time.monotonic() + patience
        looks = 0
        while not self._try():
            looks += 1
            words, role = _read_line(os.pread(self._fd, 200, 0))
            # What is read at the first look may be the line of the holder before, if this one has only just begun.
            patient = role is Role.COMMAND or looks == 1
            if not patient or time.monotonic() >= ends_at:
                raise _refusal(directory, words or "an unknown process", role)
            threading.Event().wait(_LOOK_SECONDS)

    def _try(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def this_command() -> str:
    """
    Return how others name this process if it is a command that holds a directory.
    """
    return f"another conductor-loop command (pid {os.getpid()})"


def lock_for_command(directory: str | os.PathLike[str]) -> DirectoryLock:
    """
    Lock a directory for a command; another one is waited for.

    Raises:
        ConductorError: as `DirectoryLock`.
    """
    return DirectoryLock(directory, this_command(), role=Role.COMMAND, patience=PATIENCE_SECONDS)


def holder(directory: str | os.PathLike[str]) -> Holder | None:
    """
    Return who holds a directory, without trying to lock it: that could keep an agent that starts just then from it.

    Returns:
        None if nobody does, or where the kernel does not tell: of a process in another container.

    Raises:
        OSError: if the directory or its lock may not be looked at.
    """
    path = Path(directory, LOCK_NAME)
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    for line in _LOCKS.read_text(encoding="ascii").splitlines():
        fields = line.split()
        if fields[1:4] == ["FLOCK", "ADVISORY", "WRITE"] and _is_file(fields[5], found):
            words, role = _read_line(path.read_bytes())
            return Holder(int(fields[4]), words or f"process {fields[4]}", role)
    return None


def agent_at(directory: str | os.PathLike[str]) -> Holder | None:
    """
    Return the agent that holds a directory.

    Returns:
        None also where we may not look.
    """
    found = _seen(directory)
    return found if found is not None and found.role is Role.AGENT else None


def await_free(directory: str | os.PathLike[str], patience: float) -> None:
    """
    Wait as `DirectoryLock` does, and do not lock.

    Raises:
        CommandAtWorkError: if a command holds the directory.
        OwnedError: if an agent does.
    """
    ends_at = time.monotonic() + patience
    while (found := _seen(directory)) is not None:
        if found.role is Role.AGENT or time.monotonic() >= ends_at:
            raise _refusal(directory, found.words, found.role)
        threading.Event().wait(_LOOK_SECONDS)


_LOCKS = Path("/proc/locks")


def _seen(directory: str | os.PathLike[str]) -> Holder | None:
    try:
        return holder(directory)
    except OSError:
        return None


def _read_line(line: bytes) -> tuple[str, Role]:
    """
    Return what a holder says of itself, and its role; one that says none is to be left alone as an agent is.
    """
    text = line.decode("utf-8", "replace").strip()
    role, _, words = text.partition(" ")
    return (words, Role(role)) if role in set(Role) else (text, Role.AGENT)


def _refusal(directory: str | os.PathLike[str], words: str, role: Role) -> CommandAtWorkError | OwnedError:
    if role is Role.COMMAND:
        return CommandAtWorkError(f"{words} is at work in {os.fspath(directory)}; try again")
    return OwnedError(
        f"{os.fspath(directory)} is in use by {words}; "
        "one agent at a time: stop it, or give this one directories of its own"
    )


def _is_file(place: str, found: os.stat_result) -> bool:
    major, minor, inode = place.split(":")
    if int(inode) != found.st_ino:
        return False
    device = os.makedev(int(major, 16), int(minor, 16))
    # Btrfs and overlayfs show another device here than to stat, and both are of the kind that has no hardware.
    return device == found.st_dev or (os.major(device) == 0 and os.major(found.st_dev) == 0)
