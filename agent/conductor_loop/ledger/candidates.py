"""
Whether a file that ended may be tried again; changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from conductor_loop.errors import BusyError, ConflictError, NotFoundError, PausedError
from conductor_loop.ledger import failed
from conductor_loop.ledger.places import Places, exists
from conductor_loop.model import Identity, Outcome, PauseReason, display_name
from conductor_loop.store import queries
from conductor_loop.store.changes import ClaimRow
from conductor_loop.store.queries import FileRow, Reader

_AGAIN = {Outcome.FAILED, Outcome.REJECTED}
_HIGHEST = 2**63  #: the store takes only numbers of 64 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """
    A file that may be tried again.
    """

    row: FileRow
    found: Identity
    path: Path  #: where it lies
    named: str  #: for words about it


def unknown(id: str) -> NotFoundError:
    """
    Return the error for an id that no file has.
    """
    return NotFoundError(f"there is no file {id}: there never was, or it is no longer kept")


class Candidates:
    """
    Judges files by their rows, the pauses that stand, and what lies in failed/.

    Args:
        reader: of the store.
        id_of: returns the id of a number.
        pauses: the reasons that stand, each with its explanation; looked at again each time.
    """

    def __init__(
        self, *, reader: Reader, id_of: Callable[[int], str], pauses: Callable[[], Mapping[PauseReason, str]]
    ) -> None:
        self._reader = reader
        self._id_of = id_of
        self._pauses = pauses

    def judge(self, number: int, places: Places, *, entered: Iterable[ClaimRow] = ()) -> Candidate:
        """
        Return the file of a number.

        Args:
            places: where it lies.
            entered: rows that are not in the store yet.

        Raises:
            NotFoundError: there is no such file.
            ConflictError: why it cannot be tried again as things are; PausedError if that is no matter of the file.
            BusyError: not now.
        """
        row, newer = self._look_up(number)
        newer = next((claim.number for claim in entered if claim.retry_of == number), newer)
        if row is None:
            raise unknown(self._id_of(number))
        named = f"{self._id_of(number)} ({display_name(row.name)})"
        self._check_row(row, newer, named)
        self._check_time(row, named)
        path = places.paths.failed / (row.target or "")
        return Candidate(row=row, found=self._find(row, places, path, named), path=path, named=named)

    def _look_up(self, number: int) -> tuple[FileRow | None, int | None]:
        if not 1 <= number < _HIGHEST:
            return None, None
        with self._reader() as connection:
            return queries.file(connection, number), queries.retried_as(connection, number)

    def _check_row(self, row: FileRow, newer: int | None, named: str) -> None:
        if newer is not None:
            raise ConflictError(f"{named} was tried again already, as {self._id_of(newer)}")
        if row.outcome not in _AGAIN:
            state = "has not ended yet" if row.outcome is None else f"ended as {row.outcome}"
            raise ConflictError(f"{named} {state}; only failed and rejected files are tried again")

    def _check_time(self, row: FileRow, named: str) -> None:
        pauses = self._pauses()
        if pauses:
            shown = "; ".join(f"{reason}: {message}" for reason, message in pauses.items())
            raise PausedError(f"intake is paused ({shown}), so {named} is not tried again now")
        if row.filed_at is None:
            # Until it is flushed, power loss could take it back into its slot, and two rows would claim it.
            raise BusyError(f"{named} is just being filed; ask again in a second")

    def _find(self, row: FileRow, places: Places, path: Path, named: str) -> Identity:
        target = row.target or ""
        found = failed.find(places, target, self._id_of(row.number), row.identity)
        if found is None:
            shown = display_name(str(path))
            if exists(places.failed_fd, target):
                raise ConflictError(f"{shown} is not {named} but another file")
            raise ConflictError(f"{named} is no longer there: {shown}")
        return found
