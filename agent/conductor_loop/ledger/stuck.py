"""
Files that cannot be moved now, mostly because a disk is full or a directory is not writable.
"""

from __future__ import annotations

import logging

from conductor_loop.ledger.entry import Entry
from conductor_loop.metrics.live import Live
from conductor_loop.model import display_name

log = logging.getLogger(__name__)


class Stuck:
    """
    Keeps count of them for health, and has each in the log once, however often it is tried.
    """

    def __init__(self, *, live: Live) -> None:
        self._live = live
        self._numbers: set[int] = set()

    def add(self, entry: Entry, doing: str, error: OSError) -> None:
        """
        Say that `doing` something with a file failed and will be tried again.
        """
        if entry.number not in self._numbers:
            log.warning("cannot %s %s (%s) yet: %s", doing, display_name(entry.name), entry.id, error)
        self._numbers.add(entry.number)
        message = f"{len(self._numbers)} files cannot be moved, the last one: cannot {doing}: {error}"
        self._live.health("file_manager", "unhealthy", message)

    def discard(self, entry: Entry) -> None:
        """
        Say that it worked; nothing happens for a file that was never stuck.
        """
        if entry.number in self._numbers:
            self._numbers.discard(entry.number)
            if not self._numbers:
                self._live.health("file_manager", "healthy")
