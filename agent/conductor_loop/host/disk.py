"""
Free disk space: what there is, and the watch that pauses intake before it runs out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from conductor_loop.model import PauseReason, display_name
from conductor_loop.runtime.service import Ticker

_HYSTERESIS = 1.05  # intake goes on only with this much of the minimum free, so that it does not flutter
_MIN_INODES = 256  # each file takes one for its status, a failed one more; the processor some


class Space(NamedTuple):
    """
    What an ordinary user may still write to a file system.
    """

    bytes: int
    inodes: int | None  #: None where they are not counted


def free_space(path: Path) -> Space | None:
    """
    Return what may still be written there; None where the path cannot be asked.
    """
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return Space(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


def free_bytes(path: Path) -> int | None:
    """
    Return the bytes that an ordinary user may still write there; None where the path cannot be asked.
    """
    space = free_space(path)
    return None if space is None else space.bytes


class DiskWatch(Ticker):
    """
    Compares the free space and the free inodes of some directories with a minimum, once a second.

    Args:
        paths: directories; one that is missing is somebody else's business.
        min_free: bytes.
        pause: called with the reason and an explanation when space runs out, and again when the explanation changes.
        resume: called with the reason when there is enough everywhere.
        stands: tells whether the pause stands, which somebody else may have asked for.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        min_free: int,
        pause: Callable[[PauseReason, str], None],
        resume: Callable[[PauseReason], None],
        stands: Callable[[], bool],
        interval: float = 1.0,
        free: Callable[[Path], Space | None] = free_space,
    ) -> None:
        super().__init__("disk", self.check, interval=interval)
        self._paths = paths
        self._min_free = min_free
        self._pause = pause
        self._resume = resume
        self._stands = stands
        self._free = free
        self._short: tuple[tuple[Path, str], ...] = ()
        self._said_for: int | None = None  # the minimum that the standing explanation names

    def set_min_free(self, min_free: int) -> None:
        """
        Replace the minimum, in bytes, from the next look on; any thread.
        """
        self._min_free = min_free

    def check(self) -> None:
        """
        Look once.
        """
        minimum = self._min_free
        shortages = {key: words for path in self._paths for key, words in self._shortages(path, minimum)}
        short = tuple(shortages)
        if short and (short, minimum) != (self._short, self._said_for):
            self._pause(PauseReason.DISK, "; ".join(shortages.values()))
            self._said_for = minimum
        elif not short and self._stands():
            self._resume(PauseReason.DISK)
        self._short = short

    def _shortages(self, path: Path, min_free: int) -> Iterator[tuple[tuple[Path, str], str]]:
        """
        Yield what a directory is short of, as a key and as words.
        """
        space = self._free(path)
        if space is None:
            return
        needed = self._needed(min_free, key := (path, "bytes"))
        if space.bytes < needed:
            yield key, _explain(path, _mebibytes(space.bytes), _mebibytes(needed))
        needed = self._needed(_MIN_INODES, key := (path, "inodes"))
        if space.inodes is not None and space.inodes < needed:
            yield key, _explain(path, f"{space.inodes} inodes", f"{needed:.0f}")

    def _needed(self, minimum: int, key: tuple[Path, str]) -> float:
        return minimum * (_HYSTERESIS if key in self._short else 1)


def _explain(path: Path, free: str, needed: str) -> str:
    return f"{display_name(str(path))} has {free} free, {needed} are needed"


def _mebibytes(size: float) -> str:
    return f"{size / 1024**2:.1f} MiB"
