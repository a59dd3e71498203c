"""
The places of files, for those who only look.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from pathlib import Path

from conductor_loop.ledger.places import Paths, Places

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Sight(Places):
    """
    The same directories as an agent's, with nothing made, moved or locked; a missing one has the descriptor -1.

    Raises:
        OSError: if one of them cannot be looked into, so that what is in it would seem to be missing.
    """

    def __init__(self, paths: Paths, *, agent: str) -> None:
        self.paths = paths
        self.agent = agent
        self.links = False
        self._work = ExitStack()
        self.handoff_fd = self.work_fd = self.processed_fd = self.failed_fd = self.status_fd = -1
        try:
            for name in ("handoff", "work", "processed", "failed", "status"):
                setattr(self, f"{name}_fd", _look_into(getattr(paths, name)))
            self._look_into_slots()
        except BaseException:
            self.close()
            raise

    def _look_into_slots(self) -> None:
        for agent in _folders(self.paths.work):
            _check_access(agent)
            for slot in _folders(agent):
                _check_access(slot)


def _folders(path: Path) -> list[Path]:
    return [below for below in path.glob("*") if below.is_dir() and not below.is_symlink()]


def _look_into(path: Path) -> int:
    try:
        fd = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return -1
    try:
        _check_access(path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_access(path: Path) -> None:
    if not os.access(path, os.R_OK | os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
