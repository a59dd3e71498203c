"""
Free disk space: what there is, and the watch that pauses intake before it runs out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from conductor_loop.model import PauseReason, display_name
from conductor_loop.runtime.service import Ticker

_HYSTERESIS = 1.05  # intake goes on only with this much of the minimum free, so that it does not flutter


def free_bytes(path: Path) -> int | None:
    """
    Return the bytes that an ordinary user may still write there; None where the path cannot be asked.
    """
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


class DiskWatch(Ticker):
    """
    Compares the free space of some directories with a minimum, once a second.

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
        free: Callable[[Path], int | None] = free_bytes,
    ) -> None:
        super().__init__("disk", self.check, interval=interval)
        self._paths = paths
        self._min_free = min_free
        self._pause = pause
        self._resume = resume
        self._stands = stands
        self._free = free
        self._short: tuple[Path, ...] = ()

    def check(self) -> None:
        """
        Look once.
        """
        free = {path: size for path in self._paths if (size := self._free(path)) is not None}
        short = tuple(path for path, size in free.items() if size < self._threshold(path))
        if short and short != self._short:
            self._pause(PauseReason.DISK, "; ".join(self._explain(path, free[path]) for path in short))
        elif not short and self._stands():
            self._resume(PauseReason.DISK)
        self._short = short

    def _threshold(self, path: Path) -> float:
        return self._min_free * (_HYSTERESIS if path in self._short else 1)

    def _explain(self, path: Path, free: int) -> str:
        return (
            f"{display_name(str(path))} has {_mebibytes(free)} free, "
            f"{_mebibytes(self._threshold(path))} are needed"
        )


def _mebibytes(size: float) -> str:
    return f"{size / 1024**2:.1f} MiB"
