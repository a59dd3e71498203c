"""
Trying a failed or rejected file again: a new file with a row of its own, claimed from failed/.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from conductor_loop import clock
from conductor_loop.errors import BusyError, ConflictError, NotFoundError
from conductor_loop.ledger import failed
from conductor_loop.ledger.admission import Admission
from conductor_loop.ledger.book import Book
from conductor_loop.ledger.claims import Claims
from conductor_loop.ledger.entry import Entry
from conductor_loop.ledger.page import Page
from conductor_loop.ledger.pauses import Pauses
from conductor_loop.ledger.places import exists
from conductor_loop.ledger.request import Request
from conductor_loop.model import Arrival, FoundBy, Identity, Outcome, display_name
from conductor_loop.store import queries
from conductor_loop.store.queries import FileRow, Reader

_AGAIN = {Outcome.FAILED, Outcome.REJECTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """
    A file that is tried again; one that only would be has no id and no number yet.
    """

    id: str | None
    number: int | None
    retry_of: int  #: number of the file that ended
    name: str
    path: Path  #: where that file was


class Retry(Request[Retried]):
    """
    The message to try a file again.
    """

    def __init__(self, number: int, *, dry_run: bool) -> None:
        super().__init__(f"the retry of file {number}")
        self.number = number
        self.dry_run = dry_run


class Retries:
    """
    Judges requests for a retry one after the other, so that of two for the same file one wins.

    Args:
        reader: of the store, which holds the files that have ended.
    """

    def __init__(
        self, *, book: Book, claims: Claims, admission: Admission, pauses: Pauses, reader: Reader
    ) -> None:
        self._book = book
        self._claims = claims
        self._admission = admission
        self._pauses = pauses
        self._reader = reader

    def handle(self, retry: Retry, page: Page) -> None:
        """
        Enter a retry; it is answered once its file was moved.

        Raises:
            ConductorError: why this file cannot be tried again, or not now; nothing was entered.
        """
        old = self._ended(retry.number, page)
        self._check_time(old)
        found = self._find(old)
        if retry.dry_run:
            retry.answer(self._retried(old, None))
            return
        entry = self._enter(old, found, page)
        page.after.append(partial(self._carry_out, retry, old, entry))

    def _ended(self, number: int, page: Page) -> FileRow:
        """
        Return the row of a file that may be tried again, as far as its row says.
        """
        old, newer = self._look_up(number)
        if old is None:
            raise NotFoundError(f"there is no file {number} in the history")
        # What this page enters is not in the store yet.
        newer = next((row.number for row in page.changes.claims if row.retry_of == number), newer)
        if newer is not None:
            raise ConflictError(f"{self._named(old)} was tried again already, as {self._book.id(newer)}")
        if old.outcome not in _AGAIN:
            state = "has not ended yet" if old.outcome is None else f"ended as {old.outcome}"
            raise ConflictError(f"{self._named(old)} {state}; only failed and rejected files are tried again")
        return old

    def _look_up(self, number: int) -> tuple[FileRow | None, int | None]:
        if not 1 <= number <= self._book.last_number:  # the store takes only numbers of 64 bits
            return None, None
        with self._reader() as connection:
            return queries.file(connection, number), queries.retried_as(connection, number)

    def _check_time(self, old: FileRow) -> None:
        if self._pauses.reasons:
            shown = "; ".join(f"{reason}: {message}" for reason, message in self._pauses.reasons.items())
            raise ConflictError(f"intake is paused ({shown}), so {self._named(old)} is not tried again now")
        if old.filed_at is None:
            # Until it is flushed, power loss could take it back into its slot, and two rows would claim it.
            raise BusyError(f"{self._named(old)} is just being filed; ask again in a second")
        if self._admission.room_again() <= 0:
            raise BusyError(
                "as many files as agent.look_ahead allows wait for a worker; ask again in a second"
            )

    def _find(self, old: FileRow) -> Identity:
        places, target = self._claims.places, old.target or ""
        found = failed.find(places, target, self._book.id(old.number), old.identity)
        if found is None:
            path = display_name(str(self._path(old)))
            if exists(places.failed_fd, target):
                raise ConflictError(f"{path} is not {self._named(old)} but another file")
            raise ConflictError(f"{self._named(old)} is no longer there: {path}")
        return found

    def _enter(self, old: FileRow, found: Identity, page: Page) -> Entry:
        arrival = Arrival(old.name, found, FoundBy.RETRY, clock.now_us())
        try:
            return self._claims.enter(arrival, page, retry_of=old.number, retry_target=old.target or "")
        except OSError as error:
            raise BusyError(f"no slot can be made for {self._named(old)}: {error}; ask again") from error

    def _carry_out(self, retry: Retry, old: FileRow, entry: Entry) -> None:
        self._claims.carry_out(entry)
        # A claim that could not be carried out yet is tried again; this one never will be.
        if not exists(entry.places.work_fd, entry.relative) and not exists(*entry.source):
            retry.refuse(
                ConflictError(f"{self._named(old)} was taken away before it could be moved to its slot")
            )
        else:
            retry.answer(self._retried(old, entry))

    def _retried(self, old: FileRow, entry: Entry | None) -> Retried:
        return Retried(
            id=None if entry is None else entry.id,
            number=None if entry is None else entry.number,
            retry_of=old.number,
            name=old.name,
            path=self._path(old),
        )

    def _path(self, old: FileRow) -> Path:
        return self._claims.places.paths.failed / (old.target or "")

    def _named(self, old: FileRow) -> str:
        return f"{self._book.id(old.number)} ({display_name(old.name)})"
