"""
Files that cannot be moved now, mostly because a disk is full or a directory is not writable.
"""

from __future__ import annotations

import logging

from conductor_loop.ledger.entry import Entry
from conductor_loop.ledger.pauses import Pauses
from conductor_loop.metrics.live import Live
from conductor_loop.model import PauseReason, display_name

log = logging.getLogger(__name__)


class Stuck:
    """
    Keeps count of them for health, has each in the log once, and pauses intake when there are many: a directory that
    takes no file must not have all others worked off and piled up before it.

    Args:
        most: files that may be stuck before intake pauses.
    """

    def __init__(self, *, live: Live, pauses: Pauses, most: int) -> None:
        self._live = live
        self._pauses = pauses
        self._most = most
        self._numbers: set[int] = set()
        self._paused = False

    def add(self, entry: Entry, doing: str, error: OSError) -> None:
        """
        Say that `doing` something with a file failed and will be tried again.
        """
        if entry.number not in self._numbers:
            log.warning("cannot %s %s (%s) yet: %s", doing, display_name(entry.name), entry.id, error)
        self._numbers.add(entry.number)
        message = f"{len(self._numbers)} files cannot be moved, the last one: cannot {doing}: {error}"
        self._live.health("file_manager", "unhealthy", message)
        if len(self._numbers) >= self._most:
            self._paused = True
            self._pauses.set(PauseReason.HANDOFF, message)

    def discard(self, entry: Entry) -> None:
        """
        Say that it worked; nothing happens for a file that was never stuck.
        """
        if entry.number not in self._numbers:
            return
        self._numbers.discard(entry.number)
        self._lift()
        if not self._numbers:
            self._live.health("file_manager", "healthy")

    def resize(self, most: int) -> None:
        """
        Replace how many files may be stuck before intake pauses.
        """
        self._most = most
        self._lift()

    def __len__(self) -> int:
        return len(self._numbers)

    def _lift(self) -> None:
        if self._paused and len(self._numbers) * 2 < self._most:
            self._paused = False
            self._pauses.lift(PauseReason.HANDOFF)
