"""
Looking for files in the whole history: newest first, a page at a time.

Numbers grow with time, so a walk down the numbers meets the newest first and ends as soon as a page is full. What would
make it long is bounded: failed and rejected files have an index of their own, and `since` gives the walk a last number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, literal_column, select

from conductor_loop.model import Kind, Outcome
from conductor_loop.store import tables
from conductor_loop.store.queries import FileRow, highest_number, read_file, was_retried

OPEN = "open"  #: stands among the outcomes for files that have none yet

_UNSUCCESSFUL = frozenset({Outcome.FAILED, Outcome.REJECTED})
_NEAR = 20_000  # numbers; going through so many takes some 50 ms
_files = tables.files.c


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFilter:
    """
    Which files are looked for; what is empty or None says nothing about them.

    Moments are those of the outcome; of files that are still open, of the claim.
    """

    outcomes: frozenset[str] = frozenset()  #: values of `Outcome`, and `OPEN`
    kinds: frozenset[str] = frozenset()  #: values of `Kind`; open files have none
    name_glob: str | None = None  #: for the name as it is shown: `*`, `?`, `[a-c]`, `[^a]`; case-sensitive
    since_at: int | None = None  #: this moment or later
    until_at: int | None = None  #: before this moment
    unresolved: bool = False  #: only failed and rejected ones that were not tried again


def search(
    connection: Connection, wanted: FileFilter, *, limit: int, before: int | None = None
) -> list[FileRow]:
    """
    Return the files that match, the highest number first.

    Args:
        connection: a reader's.
        wanted: what they must match.
        limit: how many at most.
        before: only files with a lower number: of the page after the one that ended with it.
    """
    found = [*_ended(connection, wanted, limit, before), *_open(connection, wanted, limit, before)]
    return sorted(found, key=lambda row: row.number, reverse=True)[:limit]


def _ended(connection: Connection, wanted: FileFilter, limit: int, before: int | None) -> list[FileRow]:
    outcomes = _outcomes(wanted)
    if outcomes is not None and not outcomes:
        return []
    # By its expression, not its index: sorting by number what a range of moments gives would read all of it first.
    finished_at: ColumnElement[int] = literal_column("+files.finished_at")
    conditions = [_files.outcome.is_not(None), *_common(wanted, before), *_between(finished_at, wanted)]
    if outcomes is not None:
        conditions.append(_files.outcome.in_(sorted(outcomes)))
        if outcomes <= _UNSUCCESSFUL:
            # In the words of its index, without which that would not be used.
            conditions.append(tables.UNSUCCESSFUL)
    if wanted.unresolved:
        conditions.append(~was_retried())
    if wanted.kinds:
        conditions.append(_files.kind.in_(sorted(wanted.kinds)))
    if wanted.since_at is None:
        return _walk(connection, conditions, limit)
    # Most pages are full soon; finding out how far to go takes longer than that, where `since` is long ago.
    top = before or highest_number(connection) + 1
    near = _walk(connection, [*conditions, _files.number >= top - _NEAR], limit)
    return near if len(near) == limit else _walk(connection, [*conditions, *_limits(wanted)], limit)


def _open(connection: Connection, wanted: FileFilter, limit: int, before: int | None) -> list[FileRow]:
    if wanted.kinds or wanted.unresolved or (wanted.outcomes and OPEN not in wanted.outcomes):
        return []
    # The first is true of all of them, and what their index is of.
    conditions = [_files.filed_at.is_(None), _files.outcome.is_(None), *_common(wanted, before)]
    return _walk(connection, [*conditions, *_between(_files.claimed_at, wanted)], limit)


def _limits(wanted: FileFilter) -> Iterator[ColumnElement[bool]]:
    """
    Yield the lowest and highest number of the files that ended in the time asked for; read from an index alone.
    """
    # Not the plain column: for that SQLite goes through the table from its end to the first that fits.
    number: ColumnElement[int] = literal_column("+files.number")
    ended = list(_between(_files.finished_at, wanted))
    lowest, highest = (
        select(choose(number)).where(*ended).scalar_subquery() for choose in (func.min, func.max)
    )
    yield _files.number >= lowest
    if wanted.until_at is not None:
        yield _files.number <= highest


def _walk(connection: Connection, conditions: list[ColumnElement[bool]], limit: int) -> list[FileRow]:
    query = select(*tables.files.columns).where(*conditions).order_by(_files.number.desc()).limit(limit)
    return [read_file(row) for row in connection.execute(query)]


def _outcomes(wanted: FileFilter) -> frozenset[str] | None:
    """
    Return the outcomes that files which match can have; None for any.
    """
    asked = frozenset(wanted.outcomes - {OPEN}) if wanted.outcomes else None
    if not (wanted.kinds or wanted.unresolved):
        return asked
    vanished = Kind.VANISHED in wanted.kinds and not wanted.unresolved
    possible = _UNSUCCESSFUL | {Outcome.VANISHED} if vanished else _UNSUCCESSFUL
    return possible if asked is None else asked & possible


def _common(wanted: FileFilter, before: int | None) -> Iterator[ColumnElement[bool]]:
    if before is not None:
        yield _files.number < before
    if wanted.name_glob is not None:
        yield _matches(_files.name, wanted.name_glob)


def _between(moment: ColumnElement[int], wanted: FileFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.since_at is not None:
        yield moment >= wanted.since_at
    if wanted.until_at is not None:
        yield moment < wanted.until_at


def _matches(name: ColumnElement[str], glob: str) -> ColumnElement[bool]:
    """
    Return the condition that a name matches a shell's pattern.

    The only words here that another database would have to be told in its own: GLOB is SQLite's.
    """
    return name.op("GLOB", is_comparison=True)(glob.replace("[!", "[^"))
