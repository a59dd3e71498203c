"""
The directories that a file passes through, held by descriptors: a renamed directory is still the same place.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import itertools
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conductor_loop.errors import ConductorError, ConfigError, PermissionDeniedError
from conductor_loop.ledger import moves
from conductor_loop.ledger.locks import DirectoryLock, Role

_PROBE = ".conductor-probe"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """
    Where the places are.
    """

    handoff: Path
    work: Path
    processed: Path
    failed: Path
    status: Path


class Slots:
    """
    The directories `work/<agent>/<slot>/`, made on demand and kept: creating one costs more than all else per file.

    Args:
        work: the work directory.
        agent: name of this agent's folder in it.
    """

    def __init__(self, work: Path, agent: str) -> None:
        self._folder = work / agent
        self._fd = _open(self._folder)
        made = [int(name) for name in os.listdir(self._fd) if name.isdecimal()]
        self._next = max(made, default=-1) + 1
        self._free = sorted(made)
        self._held: Counter[int] = Counter()

    def take(self) -> int:
        """
        Return a free slot, the lowest first so that few are ever made.

        Raises:
            OSError: if a directory was needed and could not be made.
        """
        while self._free:
            slot = heapq.heappop(self._free)
            if not self._held[slot]:
                self._held[slot] = 1
                return slot
        slot = self._make()
        self._held[slot] = 1
        return slot

    def restore(self, slot: int) -> None:
        """
        Make the directory of a slot if there is none, or somebody has deleted it.

        Raises:
            OSError: if it could not be made.
        """
        with contextlib.suppress(FileExistsError):
            os.mkdir(str(slot), mode=0o770, dir_fd=self._fd)

    def hold(self, slot: int) -> None:
        """
        Say that a file found at start is in `slot`.
        """
        self._held[slot] += 1
        self._next = max(self._next, slot + 1)  # its directory may be gone, and is made again for its file

    def release(self, slot: int) -> None:
        """
        Say that a file has left `slot`.
        """
        self._held[slot] -= 1
        if not self._held[slot]:
            heapq.heappush(self._free, slot)

    def mend(self) -> None:
        """
        Make the folder of all slots anew if somebody has deleted it.

        Raises:
            OSError: if it could not be made.
        """
        if _deleted(self._fd):
            self._folder.mkdir(mode=0o770, exist_ok=True)
            _point(self._fd, self._folder)

    def close(self) -> None:
        os.close(self._fd)

    def _make(self) -> int:
        while True:
            slot = self._next
            try:
                os.mkdir(str(slot), mode=0o770, dir_fd=self._fd)
            except FileExistsError:
                self._next += 1  # somebody else's, so it stays theirs
            else:
                self._next += 1
                return slot


class Places:
    """
    Open descriptors of one set of directories, and the ownership of them.

    Args:
        paths: of the directories; missing ones are made.
        agent: this agent's name.
        owner: how others name who works here, in one line.
        role: what that is.
        patience: seconds to wait at most while a command works here.
        predecessor: the places used so far; if the work directory is still the same one, its slots and its lock
            are taken over.

    Raises:
        CommandAtWorkError: if a command works here.
        ConfigError: if the directories are not on one file system, or are no directories.
        OwnedError: if another agent works here.
        PermissionDeniedError: if we may not write there.
    """

    def __init__(
        self,
        paths: Paths,
        *,
        agent: str,
        owner: str,
        role: Role = Role.AGENT,
        patience: float = 0.0,
        predecessor: Places | None = None,
    ) -> None:
        self.paths = paths
        self.agent = agent
        self._owner = owner
        self._role = role
        self.slots: Slots
        self.links = False  #: whether a move is a link and an unlink, which a crash can come between
        self._work = contextlib.ExitStack()  # what comes with owning the work directory
        self.handoff_fd = self.work_fd = self.processed_fd = self.failed_fd = self.status_fd = -1
        try:
            self.handoff_fd = _open(paths.handoff)
            self.work_fd = _open(paths.work)
            self.processed_fd = _open(paths.processed)
            self.failed_fd = _open(paths.failed)
            self.status_fd = _open(paths.status)
            self._prove_moves()  # first: until they are proved, a predecessor keeps what it owns
            if predecessor is not None and os.path.sameopenfile(self.work_fd, predecessor.work_fd):
                self.slots = predecessor.slots
                self._work = predecessor._work.pop_all()  # noqa: SLF001 - of its own class
            else:
                self._work.callback(DirectoryLock(paths.work, owner, role=role, patience=patience).close)
                self.slots = Slots(paths.work, agent)
                self._work.callback(self.slots.close)
        except BaseException:
            self.close()
            raise

    @property
    def identity(self) -> tuple[int, int]:
        """
        Device and inode of the handoff directory.
        """
        found = os.fstat(self.handoff_fd)
        return found.st_dev, found.st_ino

    def successor(self) -> Places:
        """
        Open what is at the same paths now.

        Raises:
            CommandAtWorkError, ConfigError, OwnedError, PermissionDeniedError: as the constructor.
        """
        return Places(self.paths, agent=self.agent, owner=self._owner, role=self._role, predecessor=self)

    def mend(self) -> None:
        """
        Make those directories anew that were deleted, as far as that goes now.

        Descriptors keep their numbers, for workers have them in hand.
        """
        for name in ("work", "processed", "failed", "status"):
            path, fd = getattr(self.paths, name), getattr(self, f"{name}_fd")
            if _deleted(fd):
                with contextlib.suppress(ConductorError, OSError):
                    # Not its parents: an operator who removes the handoff directory does not want it back from us.
                    path.mkdir(mode=0o770, exist_ok=True)
                    if name == "work":  # refused where our successor is at work already
                        self._work.callback(DirectoryLock(path, self._owner, role=self._role).close)
                    _point(fd, path)
        with contextlib.suppress(OSError):
            self.slots.mend()

    def close(self) -> None:
        """
        Close what is open; safe to call twice and half-way.
        """
        self._work.close()
        for name in ("handoff_fd", "work_fd", "processed_fd", "failed_fd", "status_fd"):
            fd = getattr(self, name)
            if fd >= 0:
                os.close(fd)
                setattr(self, name, -1)

    def _prove_moves(self) -> None:
        """
        Move a hidden empty file along every way that files take; device numbers alone miss bind mounts.
        """
        way = [
            (self.paths.handoff, self.handoff_fd),
            (self.paths.work, self.work_fd),
            (self.paths.failed, self.failed_fd),
            (self.paths.processed, self.processed_fd),
            (self.paths.status, self.status_fd),
        ]
        try:
            _remove_probes(way)  # of a start that was killed
            _create(way[0])
            for here, there in itertools.pairwise(way):
                self.links = not _move(here, there)
        except _FullError:
            return  # no room for an empty file; the agent starts and pauses until there is
        finally:
            _remove_probes(way)


def in_slot(agent: str, slot: int, name: str) -> str:
    """
    Return where a file in a slot is, below the work directory.
    """
    return f"{agent}/{slot}/{name}"


def exists(dir_fd: int, name: str) -> bool:
    """
    Tell whether there is anything of this name; true as well where that cannot be told.
    """
    try:
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


class _FullError(Exception):
    pass


def _deleted(fd: int) -> bool:
    return os.fstat(fd).st_nlink == 0


def _point(fd: int, path: Path) -> None:
    """
    Make `fd` a descriptor of the directory at `path`.
    """
    new = os.open(path, _DIRECTORY)
    try:
        os.dup2(new, fd, inheritable=False)
    finally:
        os.close(new)


def _open(path: Path) -> int:
    try:
        path.mkdir(mode=0o770, parents=True, exist_ok=True)
        return os.open(path, _DIRECTORY)
    except PermissionError as error:
        raise PermissionDeniedError(
            f"{path}: {error.strerror}; the agent's user must own it or may write there"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; a directory is needed here") from error


def _create(place: tuple[Path, int]) -> None:
    path, fd = place
    try:
        os.close(os.open(_PROBE, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=fd))
    except OSError as error:
        raise _explained(error, path) from error


def _move(source: tuple[Path, int], target: tuple[Path, int]) -> bool:
    try:
        return moves.rename_noreplace(source[1], _PROBE, target[1], _PROBE)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise ConfigError(
                f"{source[0]} and {target[0]} are on different file systems (or mounts); "
                "files are moved by rename, so put the handoff, work, processed, failed and status "
                "directories on one"
            ) from error
        raise _explained(error, target[0]) from error


def _explained(error: OSError, path: Path) -> Exception:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return _FullError()
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return PermissionDeniedError(f"{path}: {error.strerror}; the agent must be able to write there")
    return ConfigError(f"{path}: {error.strerror}")


def _remove_probes(way: Sequence[tuple[Path, int]]) -> None:
    for _, fd in way:
        with contextlib.suppress(OSError):  # mostly there is none; what else is wrong is said by the moves
            os.unlink(_PROBE, dir_fd=fd)
