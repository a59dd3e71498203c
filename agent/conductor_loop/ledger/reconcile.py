"""
The conservation law, taken from the directories: no open row without a file, no file under work/ without an open row.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator

from conductor_loop.ledger.book import Book
from conductor_loop.ledger.places import Places, exists
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
            self._live.health("state_manager", "unhealthy", message)
        else:
            self._live.health("state_manager", "healthy")

    def _odd(self, places: Places) -> Iterator[str]:
        found = {f"{agent}/{slot}/{name}" for agent, slot, name in files_in_slots(places.work_fd)}
        for entry in self._book:
            if (
                entry.places.slots is not places.slots
            ):  # a replaced handoff directory may have left them the same
                continue
            if entry.relative in found:
                found.discard(entry.relative)
            elif not exists(
                entry.places.handoff_fd, entry.name
            ):  # there it is while its claim is tried again
                yield entry.relative
        yield from found


def files_in_slots(work_fd: int) -> Iterator[tuple[str, int, str]]:
    """
    Give every file in a slot as (agent, slot, name); other things under work/ are not ours.
    """
    for agent in _directories(work_fd, "."):
        for slot in _directories(work_fd, agent):
            if slot.isdecimal():
                yield from ((agent, int(slot), item.name) for item in _entries(work_fd, f"{agent}/{slot}"))


def _directories(work_fd: int, below: str) -> list[str]:
    return [item.name for item in _entries(work_fd, below) if item.is_dir(follow_symlinks=False)]


def _entries(work_fd: int, below: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(f"/proc/self/fd/{work_fd}/{below}") as found:
            return list(found)
    except (FileNotFoundError, PermissionError):
        return []  # deleted this moment, or somebody else's: nothing in it is ours
