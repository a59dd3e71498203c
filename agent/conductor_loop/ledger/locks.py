"""
One owner per directory, by flock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import NamedTuple

from conductor_loop.errors import ConfigError, OwnedError

LOCK_NAME = ".owner"


class DirectoryLock:
    """
    The lock on a directory; held until `close` or the end of the process, however it ends.

    Args:
        directory: that is locked; must exist.
        owner: one line that a refused second agent shows.

    Raises:
        ConfigError: if nothing can be written there.
        OwnedError: if another process holds it.
    """

    def __init__(self, directory: str | os.PathLike[str], owner: str) -> None:
        path = os.path.join(directory, LOCK_NAME)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        except OSError as error:
            raise ConfigError(
                f"{path}: {error.strerror}; the agent's user must be able to write this file"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 200, 0).decode("utf-8", "replace").strip() or "an unknown process"
            os.close(self._fd)
            raise OwnedError(
                f"{directory} is in use by {holder}; "
                "one agent at a time: stop it, or give this one directories of its own"
            ) from None
        with contextlib.suppress(OSError):  # a full disk; the name is a courtesy, the lock is held without it
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, owner.encode() + b"\n", 0)

    def close(self) -> None:
        """
        Give the directory free; safe to call twice.
        """
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Holder(NamedTuple):
    """
    Who holds a directory.
    """

    pid: int
    words: str  #: what it says of itself


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
            words = path.read_text(encoding="utf-8", errors="replace").strip()
            return Holder(int(fields[4]), words or f"process {fields[4]}")
    return None


_LOCKS = Path("/proc/locks")


def _is_file(place: str, found: os.stat_result) -> bool:
    major, minor, inode = place.split(":")
    if int(inode) != found.st_ino:
        return False
    device = os.makedev(int(major, 16), int(minor, 16))
    # Btrfs and overlayfs show another device here than to stat, and both are of the kind that has no hardware.
    return device == found.st_dev or (os.major(device) == 0 and os.major(found.st_dev) == 0)
