"""
Makes filing renames last through power loss, off the ledger thread.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from conductor_loop.ledger import moves
from conductor_loop.ledger.entry import Entry
from conductor_loop.runtime.service import ThreadService

log = logging.getLogger(__name__)

_GAP = 1.0  #: seconds between two flushes at least: a flush writes out everybody's files, not only ours


@dataclass(frozen=True, slots=True)
class Synced:
    """
    The message that these files' moves are durable.
    """

    entries: Sequence[Entry]


class Syncer(ThreadService):
    """
    Flushes the file system of filed files, at most once a second.

    Args:
        post: takes the message that it is done.
    """

    def __init__(self, *, post: Callable[[Synced], None]) -> None:
        super().__init__("syncer", self._loop, wake=lambda: self._requests.put([]))
        self._post = post
        self._requests: queue.SimpleQueue[Sequence[Entry]] = queue.SimpleQueue()

    def request(self, entries: Sequence[Entry]) -> None:
        """
        Ask for a flush on behalf of these files; returns at once.
        """
        self._requests.put(entries)

    def _loop(self, stop: threading.Event) -> None:
        while not stop.is_set():
            entries = self._requests.get()
            if entries and sync(entries):
                self._post(Synced(entries))
            elif entries:
                self._requests.put(entries)
            stop.wait(_GAP)


def sync(entries: Sequence[Entry]) -> bool:
    """
    Flush the file systems that these files were filed on; tell whether that worked.
    """
    try:
        for fd in {entry.places.handoff_fd for entry in entries}:
            moves.syncfs(fd)
    except OSError as error:
        log.warning("cannot flush the handoff file system, trying again: %s", error)
        return False
    return True
