"""
What the ledger knows: the open files and the durable counters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from conductor_loop.ledger.entry import Entry
from conductor_loop.ledger.page import Page
from conductor_loop.ledger.request import Request
from conductor_loop.metrics import counting
from conductor_loop.model import Finished
from conductor_loop.store.queries import LAST_NUMBER


class Note(Request[None]):
    """
    The message that these values are to be among the durable counters; answered once they are.
    """

    def __init__(self, values: Mapping[tuple[str, str], int]) -> None:
        super().__init__("noting how far old files are deleted")
        self.values = dict(values)


class Book:
    """
    The working copy of what the store holds of open files; touched by the ledger thread alone.

    A page's changes carry absolute values, so that a commit repeated after an uncertain failure is harmless; the
    copy runs ahead of the store only inside one turn.
    """

    def __init__(self, *, store_id: str, totals: Mapping[tuple[str, str], int], highest_number: int) -> None:
        self._store_id = store_id
        self._totals = dict(totals)
        self._totals[LAST_NUMBER] = max(self._totals.get(LAST_NUMBER, 0), highest_number)
        self._open: dict[int, Entry] = {}
        self._filed: dict[int, Entry] = {}
        self._to_flush: list[Entry] = []

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._open.values())

    def __len__(self) -> int:
        """
        Return the number of files that are claimed and not filed.
        """
        return len(self._open)

    def __getitem__(self, number: int) -> Entry:
        return self._open[number]

    def id(self, number: int) -> str:
        """
        Return the id of a file, which no other file of any store has.
        """
        return f"{self._store_id}-{number}"

    def next_number(self, page: Page) -> int:
        """
        Return a number that was never used before.
        """
        self.count(*LAST_NUMBER, page)
        return self._totals[LAST_NUMBER]

    def add(self, entry: Entry) -> None:
        """
        Remember an open file.
        """
        self._open[entry.number] = entry

    def filed(self, entry: Entry) -> None:
        """
        Say that a file is where it belongs, though not yet for good.
        """
        self._filed[entry.number] = self._open.pop(entry.number)
        self._to_flush.append(entry)

    def take_to_flush(self) -> list[Entry]:
        """
        Return the files that were filed since the last call.
        """
        taken, self._to_flush = self._to_flush, []
        return taken

    def unmarked(self) -> list[Entry]:
        """
        Return the filed files whose rows do not say so yet.
        """
        return list(self._filed.values())

    def marked(self, entries: Iterable[Entry]) -> None:
        """
        Forget files whose rows are closed.
        """
        for entry in entries:
            self._filed.pop(entry.number, None)

    def count(self, metric: str, label: str, page: Page, by: int = 1) -> None:
        """
        Add to a durable counter.
        """
        key = (metric, label)
        self._totals[key] = page.changes.totals[key] = self._totals.get(key, 0) + by

    def note(self, note: Note, page: Page) -> None:
        """
        Keep values among the durable counters.
        """
        self._totals.update(note.values)
        page.changes.totals.update(note.values)
        page.after.append(partial(note.answer, None))

    def finish(self, finished: Finished, page: Page) -> None:
        """
        Count a file's end.
        """
        for key in counting.count(self._totals, finished):
            page.changes.totals[key] = self._totals[key]
        page.finished.append(finished)
