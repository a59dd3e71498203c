"""
The conservation law, taken from the directories: no open row without a file, no file under work/ without an open row.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator

from conductor_loop.ledger.book import Book
from conductor_loop.ledger.locks import LOCK_NAME
from conductor_loop.ledger.places import Places, exists, in_slot
from conductor_loop.metrics.live import Live
from conductor_loop.model import display_name

log = logging.getLogger(__name__)

_SHOWN = 5  #: names in a message


class Reconciler:
    """
    Compares the open files with the slots. Between two turns of the ledger no move is under way, so the comparison
    is exact.
    """

    def __init__(self, *, book: Book, live: Live) -> None:
        self._book = book
        self._live = live
        self._before: set[str] = set()
        self._said = False

    def check(self, places: Iterable[Places]) -> None:
        """
        Publish the number of unaccounted files; the same one in two checks is unhealthy.
        """
        try:
            odd = {name for place in places for name in self._odd(place)}
        except OSError as error:  # too many open files, mostly; the next check will do
            log.warning("the slots cannot be compared with the open files now: %s", error)
            return
        self._live.set(unaccounted=len(odd))
        again = sorted(odd & self._before)
        self._before = odd
        if again:
            shown = ", ".join(display_name(name) for name in again[:_SHOWN])
            message = f"{len(again)} files in slots without a row, or rows without a file: {shown}"
            if not self._said:
                log.error("%s", message)
            self._live.health("state_manager", "unhealthy", message)
        else:
            self._live.health("state_manager", "healthy")
        self._said = bool(again)

    def _odd(self, places: Places) -> Iterator[str]:
        found = {in_slot(*place) for place in files_in_slots(places.work_fd)}
        found.update(loose_files(places.work_fd))
        for entry in self._book:
            # Not by the places themselves: a replaced handoff directory may have left the slots the same.
            if entry.places.slots is not places.slots:
                continue
            if entry.relative in found:
                found.discard(entry.relative)
            elif not exists(*entry.source):  # where it is while its claim is tried again
                yield entry.relative
        yield from found


def files_in_slots(work_fd: int) -> Iterator[tuple[str, int, str]]:
    """
    Give every regular file in a slot as (agent, slot, name).
    """
    for agent in _directories(work_fd, "."):
        for slot in _directories(work_fd, agent):
            if slot.isdecimal():
                yield from ((agent, int(slot), name) for name in _files(work_fd, f"{agent}/{slot}"))


def loose_files(work_fd: int) -> Iterator[str]:
    """
    Give the files under work/ that are in no slot; nothing of ours ever is.
    """
    yield from (name for name in _files(work_fd, ".") if name != LOCK_NAME)
    for agent in _directories(work_fd, "."):
        yield from (f"{agent}/{name}" for name in _files(work_fd, agent))


def _directories(work_fd: int, below: str) -> list[str]:
    return [item.name for item in _entries(work_fd, below) if item.is_dir(follow_symlinks=False)]


def _files(work_fd: int, below: str) -> list[str]:
    return [item.name for item in _entries(work_fd, below) if item.is_file(follow_symlinks=False)]


def _entries(work_fd: int, below: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(f"/proc/self/fd/{work_fd}/{below}") as found:
            return list(found)
    except (FileNotFoundError, PermissionError):
        return []  # deleted this moment, or somebody else's: nothing in it is ours
