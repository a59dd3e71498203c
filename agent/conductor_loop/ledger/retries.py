"""
Trying a failed or rejected file again: a new file with a row of its own, claimed from failed/.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from conductor_loop import clock
from conductor_loop.errors import BusyError, ConflictError
from conductor_loop.ledger.admission import Admission
from conductor_loop.ledger.book import Book
from conductor_loop.ledger.candidates import Candidate, Candidates
from conductor_loop.ledger.claims import Claims
from conductor_loop.ledger.entry import Entry
from conductor_loop.ledger.page import Page
from conductor_loop.ledger.pauses import Pauses
from conductor_loop.ledger.places import exists
from conductor_loop.ledger.request import Request
from conductor_loop.model import Arrival, FoundBy
from conductor_loop.store.queries import Reader


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
        self._claims = claims
        self._admission = admission
        self._candidates = Candidates(reader=reader, id_of=book.id, pauses=lambda: pauses.reasons)

    def handle(self, retry: Retry, page: Page) -> None:
        """
        Enter a retry; it is answered once its file was moved.

        Raises:
            ConductorError: why this file cannot be tried again, or not now; nothing was entered.
        """
        candidate = self._candidates.judge(retry.number, self._claims.places, entered=page.changes.claims)
        if self._admission.room_again() <= 0:
            raise BusyError(
                "as many files as agent.look_ahead allows wait for a worker; ask again in a second"
            )
        if retry.dry_run:
            retry.answer(would_be(candidate))
            return
        entry = self._enter(candidate, page)
        page.after.append(partial(self._carry_out, retry, candidate, entry))

    def _enter(self, candidate: Candidate, page: Page) -> Entry:
        row = candidate.row
        arrival = Arrival(row.name, candidate.found, FoundBy.RETRY, clock.now_us())
        try:
            return self._claims.enter(arrival, page, retry_of=row.number, retry_target=row.target or "")
        except OSError as error:
            raise BusyError(f"no slot can be made for {candidate.named}: {error}; ask again") from error

    def _carry_out(self, retry: Retry, candidate: Candidate, entry: Entry) -> None:
        self._claims.carry_out(entry)
        # A claim that could not be carried out yet is tried again; this one never will be.
        if not exists(entry.places.work_fd, entry.relative) and not exists(*entry.source):
            retry.refuse(
                ConflictError(f"{candidate.named} was taken away before it could be moved to its slot")
            )
        else:
            retry.answer(_retried(candidate, entry))


def would_be(candidate: Candidate) -> Retried:
    """
    Return what a retry would be answered.
    """
    return Retried(
        id=None, number=None, retry_of=candidate.row.number, name=candidate.row.name, path=candidate.path
    )


def _retried(candidate: Candidate, entry: Entry) -> Retried:
    return replace(would_be(candidate), id=entry.id, number=entry.number)
