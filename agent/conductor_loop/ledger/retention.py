"""
Deletes filed files that are old enough: slowly, steadily, and only what the agent itself has filed.

No directory is ever read. The rows say which file lies where, and each kind of file has a cursor that walks through
the rows in the order in which the files ended. Nothing is passed over for ever:

- Files end out of the order of their numbers, so the cursor is a moment. It never runs ahead of now less the age, and
  a round begins only when the ledger has answered, so that what was reported before is in the rows.
- Files that are not filed yet, or cannot be deleted now, are passed and remembered; the cursor that is kept for the
  next start does not pass them. When there are too many of them, the walk waits.
- If the clock is set back by less than the age, new files still end after the cursor. If it is set back by more, the
  cursor goes back as well, to now less the age, and rows that were walked through before are found to have no file.
- Files that ended while the clock was ahead are kept until it is there again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from conductor_loop import clock
from conductor_loop.errors import ConductorError
from conductor_loop.ledger.book import Note
from conductor_loop.ledger.clock_guard import ClockGuard
from conductor_loop.ledger.places import Paths
from conductor_loop.ledger.shelf import SAY_SECONDS, Shelf, shelves
from conductor_loop.model import display_name
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.runtime.service import ThreadService
from conductor_loop.store import queries
from conductor_loop.store.queries import FileRow, Reader

log = logging.getLogger(__name__)

_ROUND_SECONDS = 60.0  #: between two looks at the clock, and what one walk takes at most
_SLICE = 50  #: rows between two rests
#: How much longer a rest is than the slice before it took: by the processor's time, for filing is bound by the
#: interpreter's lock, and by the clock, for the disk may be what is slow.
_RESTS_CPU, _RESTS = 100, 20
#: Files deleted a second, unless all would take longer than `_WORK_OFF_SECONDS`. ext4 without a journal searches past
#: inodes deleted in the last minutes: at 20 a second that was not to be seen, at 80 a second creating a file took up
#: to ten times as long.
_PER_SECOND = 20
_WORK_OFF_SECONDS = 43_200.0
_MOST_LEFT = 1_000  #: passed files; more means that something is wrong with the directory
_ANSWER_SECONDS = 10.0


class _Walk:
    """
    How far the deletion of one kind of file has come.
    """

    def __init__(self, shelf: Shelf, keep: float, totals: Mapping[tuple[str, str], int]) -> None:
        self.shelf = shelf
        self.keep = keep  #: seconds; 0 is for ever
        self.key = ("deleted_until", shelf.kind)
        self.at = self.noted = totals.get(self.key, 0)
        self.number = 0
        self.left: dict[int, int] = {}  #: passed and not done: number -> end

    def rewind(self, now: int) -> None:
        """
        Leave the cursor ahead of nothing that is still to come.
        """
        until = self.until(now)
        if self.at > until:
            self.at, self.number = until, 0

    def until(self, now: int) -> int:
        """
        Return the latest end of files that are old enough; 0, so that it begins anew once it is wanted, for none.
        """
        keep = self.keep  # once, for it may be replaced at any moment
        return now - round(keep * clock.SECOND) if keep else 0

    def done_until(self) -> int:
        """
        Return the moment from which on the next start has something to do.
        """
        return min([self.at, *self.left.values()])

    @property
    def open(self) -> bool:
        """
        Whether it may go on.
        """
        return bool(self.keep) and len(self.left) < _MOST_LEFT


class Retention(ThreadService):
    """
    Deletes processed files, failed and rejected ones with their error logs, and status files, each kind at its age.

    Args:
        reader: of the store.
        store_id: of the store.
        totals: the durable counters as the store has them.
        paths: where files are filed.
        post: puts a message before the ledger.
        guard: says whether the clock can be trusted.
        keep_processed, keep_failed, keep_status: seconds since the end of a file; 0 is for ever.
        now: the wall clock in microseconds; a parameter for tests.
    """

    def __init__(
        self,
        *,
        reader: Reader,
        store_id: str,
        totals: Mapping[tuple[str, str], int],
        paths: Paths,
        post: Callable[[object], None],
        guard: ClockGuard,
        keep_processed: float,
        keep_failed: float,
        keep_status: float,
        now: Callable[[], int] = clock.now_us,
    ) -> None:
        super().__init__("retention", self._loop)
        self._reader = reader
        self._store_id = store_id
        self._post = post
        self._guard = guard
        self._now = now
        ages = (keep_processed, keep_failed, keep_status)
        self._walks = [_Walk(*each, totals) for each in zip(shelves(paths), ages, strict=True)]
        self._say_at = 0.0
        self._complain_at = 0.0

    def configure(self, *, keep_processed: float, keep_failed: float, keep_status: float) -> None:
        """
        Replace the ages, from the next slice on; returns at once, callable from any thread.
        """
        for walk, keep in zip(self._walks, (keep_processed, keep_failed, keep_status), strict=True):
            walk.keep = keep

    def round(self, stop: threading.Event) -> None:
        """
        Have the ledger note how far it is, and go on from there for up to a minute.

        Raises:
            BusyError, StoreError: the store cannot be written or read; nothing is deleted then.
        """
        now = self._now()
        for walk in self._walks:
            walk.rewind(now)
        note = Note(self._values())
        self._post(note)
        note.wait(_ANSWER_SECONDS, lambda: not stop.is_set())
        self._note()
        end = Deadline.after(self._round_seconds())
        walks = list(self._walks)
        if not self._guard.held():
            for walk in walks:
                self._try_again(walk, now)
        while walks and not (stop.is_set() or end.expired or self._guard.held()):
            walks = [walk for walk in walks if walk.open and self._advance(walk, now, stop)]

    def _loop(self, stop: threading.Event) -> None:
        while not stop.is_set():
            pause = Deadline.after(self._round_seconds())
            try:
                self.round(stop)
            except ConductorError as error:  # the store, mostly
                if not stop.is_set():
                    self._complain(error)
            self._say()
            stop.wait(pause.remaining())
        self._note()
        self._post(Note(self._values()))

    def _round_seconds(self) -> float:
        # No longer than an age: in between, files of a clock that was set back could end behind the cursor.
        return max(1.0, min([_ROUND_SECONDS, *(walk.keep for walk in self._walks if walk.keep)]))

    def _note(self) -> None:
        # What is noted is committed with the next round: what was deleted outlasts power loss sooner than its cursor.
        for walk in self._walks:
            walk.noted = walk.done_until()

    def _values(self) -> dict[tuple[str, str], int]:
        return {walk.key: min(walk.noted, walk.at) for walk in self._walks} | self._guard.values()

    def _try_again(self, walk: _Walk, now: int) -> None:
        """
        Look at some of the files that were passed.
        """
        until = walk.until(now)
        some = [number for number, ended_at in walk.left.items() if ended_at <= until][:_SLICE]
        if some:
            with self._reader() as connection:
                rows = {number: queries.file(connection, number) for number in some}
            self._clear(walk, [row for row in rows.values() if row])
            for number in (number for number, row in rows.items() if row is None):
                del walk.left[number]

    def _advance(self, walk: _Walk, now: int, stop: threading.Event) -> bool:
        """
        Walk through the next rows and rest; tell whether there may be more.
        """
        began, cpu, until = time.monotonic(), time.thread_time(), walk.until(now)
        with self._reader() as connection:
            rows = queries.ended_files(connection, (walk.at, walk.number), until, _SLICE)
            last = queries.last_ended(connection, until)
        if not rows:
            return False
        before = walk.shelf.deleted
        if not self._clear(walk, rows):
            return False
        walk.at, walk.number = rows[-1].finished_at or 0, rows[-1].number
        a_second = max(_PER_SECOND, (last - walk.number) / _WORK_OFF_SECONDS)
        stop.wait(
            max(
                (time.thread_time() - cpu) * _RESTS_CPU,
                (time.monotonic() - began) * _RESTS,
                (walk.shelf.deleted - before) / a_second,
            )
        )
        return len(rows) == _SLICE

    def _clear(self, walk: _Walk, rows: Sequence[FileRow]) -> bool:
        """
        Delete what belongs to these rows and remember what could not be; tell whether anything could.
        """
        failed = walk.shelf.clear(self._with_files(walk, rows), self._store_id)
        if failed is None:
            return False
        for row in rows:
            walk.left.pop(row.number, None)
        walk.left.update((row.number, row.finished_at or 0) for row in failed)
        return True

    def _with_files(self, walk: _Walk, rows: Sequence[FileRow]) -> list[FileRow]:
        """
        Return the rows that have something of this kind; what was tried again belongs to a newer row.
        """
        rows = [row for row in rows if row.outcome in walk.shelf.outcomes]
        if walk.shelf.kind != "failed" or not rows:
            return rows
        with self._reader() as connection:
            return [row for row in rows if queries.retried_as(connection, row.number) is None]

    def _complain(self, error: Exception) -> None:
        if time.monotonic() >= self._complain_at:
            log.warning("old files are not deleted now, trying again: %s", display_name(str(error)))
            self._complain_at = time.monotonic() + SAY_SECONDS

    def _say(self) -> None:
        told = [walk.shelf for walk in self._walks if walk.shelf.deleted or walk.shelf.foreign]
        if told and time.monotonic() >= self._say_at:
            for shelf in told:
                log.info(
                    "%s: %d old files deleted, %d left alone because they are not what was filed",
                    shelf.kind,
                    shelf.deleted,
                    shelf.foreign,
                )
                shelf.deleted = shelf.foreign = 0
            self._say_at = time.monotonic() + SAY_SECONDS
