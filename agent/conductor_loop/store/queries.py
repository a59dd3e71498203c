"""
Questions to the store, each over a reader's connection.

Every query names its columns, so that columns added by a newer schema do not disturb it. Outcomes and kinds
come back as text: a newer program may have written some that this one does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, exists, func, or_, select

from conductor_loop.clock import SECOND
from conductor_loop.model import Identity, Outcome
from conductor_loop.store import tables
from conductor_loop.store.encoding import join_name, to_unsigned


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """
    A row of `files`; it is open as long as `filed_at` is None.
    """

    number: int
    name: str
    agent: str
    slot: int
    identity: Identity
    found_by: str
    discovered_at: int
    claimed_at: int
    retry_of: int | None
    attempts: int
    interruptions: int
    next_attempt_at: int | None
    outcome: str | None
    kind: str | None
    message: str | None
    finished_at: int | None
    exit_code: int | None
    duration_us: int | None
    wait_us: int | None
    sha256: str | None
    target: str | None
    status_name: str | None
    filed_at: int | None
    retry_target: str | None = None  #: target of the file that this one tries again; only `open_files` tells


@dataclass(frozen=True, slots=True, kw_only=True)
class PastAttempt:
    """
    A row of `attempts`.
    """

    number: int
    attempt: int
    started_at: int
    duration_us: int
    exit_code: int | None
    signal: int | None
    kind: str | None
    message: str
    output: bytes
    output_bytes: int
    survivors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PastInterruption:
    """
    A row of `interruptions`: a run that was cut off.
    """

    started_at: int
    found_at: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """
    What is known of some files from other rows than their own, by number.
    """

    retries: Mapping[int, int]  #: the newest file that tries this one again
    attempts: Mapping[int, tuple[str | None, str]]  #: kind and message of the last one at an open file


Reader = Callable[[], AbstractContextManager[Connection]]
"""
Gives a connection for a few questions, and has a deadline for them.
"""

LAST_NUMBER = ("claimed", "")  #: key of the last number that was given out, among the counters

_files = tables.files.c
_newer = tables.files.alias("newer").c
_TRIES_AGAIN = func.coalesce(_newer.outcome, "") != Outcome.VANISHED  #: what vanished did not
_attempts = tables.attempts.c
_interruptions = tables.interruptions.c
_SELECT_FILES = select(*tables.files.columns)
_SELECT_ATTEMPTS = select(*tables.attempts.columns)


def open_files(connection: Connection) -> list[FileRow]:
    """
    Return the files that are claimed and not yet filed, by number.
    """
    rows = connection.execute(_SELECT_FILES.where(_files.filed_at.is_(None)).order_by(_files.number))
    targets = _retry_targets(connection)
    return [replace(read_file(row), retry_target=targets.get(row.number)) for row in rows]


def file(connection: Connection, number: int) -> FileRow | None:
    """
    Return one file, or None if there never was one or its row is no longer kept.
    """
    row = connection.execute(_SELECT_FILES.where(_files.number == number)).first()
    return None if row is None else read_file(row)


def retried_as(connection: Connection, number: int) -> int | None:
    """
    Return the number of the file that tries this one again, the newest.
    """
    return retries_of(connection, [number]).get(number)


def retries_of(connection: Connection, numbers: Collection[int]) -> dict[int, int]:
    """
    Return the same of several files; those that were not tried again are left out.
    """
    query = select(_newer.retry_of, func.max(_newer.number)).where(
        _newer.retry_of.in_(sorted(numbers)), _TRIES_AGAIN
    )
    return {old: new for old, new in connection.execute(query.group_by(_newer.retry_of)) if old is not None}


def was_retried() -> ColumnElement[bool]:
    """
    Return the condition that a file is tried again by a newer one.
    """
    return exists().where(_newer.retry_of == _files.number, _TRIES_AGAIN)


def related(connection: Connection, rows: Sequence[FileRow]) -> Related:
    """
    Return what other rows say of these; two questions, however many they are.
    """
    open_numbers = [row.number for row in rows if row.outcome is None]
    return Related(
        retries=retries_of(connection, [row.number for row in rows]),
        attempts=last_attempts(connection, open_numbers) if open_numbers else {},
    )


def highest_number(connection: Connection) -> int:
    """
    Return the highest number of any file, 0 if there is none.
    """
    return connection.execute(select(func.max(_files.number))).scalar() or 0


def last_number(connection: Connection) -> int:
    """
    Return the last number that was given out; there need not be a file of it any more.
    """
    columns = tables.totals.c
    metric, label = LAST_NUMBER
    query = select(columns.value).where(columns.metric == metric, columns.label == label)
    return max(connection.execute(query).scalar() or 0, highest_number(connection))


def recent_durations(connection: Connection, limit: int = 1000) -> list[tuple[int, float]]:
    """
    Return (number, seconds of the last attempt) of the last files that ran, the highest number first.
    """
    query = (
        select(_files.number, _files.duration_us)
        .where(_files.outcome.in_([Outcome.PROCESSED, Outcome.FAILED]), _files.duration_us.is_not(None))
        .order_by(_files.number.desc())
        .limit(limit)
    )
    return [(number, micros / SECOND) for number, micros in connection.execute(query)]


def last_finished_at(connection: Connection, outcome: Outcome) -> int | None:
    """
    Return the moment of the latest such outcome.
    """
    query = select(_files.finished_at).where(_files.outcome == outcome, _files.finished_at.is_not(None))
    return connection.execute(query.order_by(_files.finished_at.desc()).limit(1)).scalar()


def first_finished_at(connection: Connection) -> int | None:
    """
    Return the moment of the oldest outcome that is kept.
    """
    query = select(_files.finished_at).where(_files.finished_at.is_not(None))
    return connection.execute(query.order_by(_files.finished_at).limit(1)).scalar()


def ended_files(connection: Connection, after: tuple[int, int], until: int, limit: int, /) -> list[FileRow]:
    """
    Return files in the order of their ends, and of their numbers where those are the same.

    Args:
        after: end and number of the file to begin behind.
        until: the latest end.
        limit: files at most.
    """
    at, number = after
    query = _SELECT_FILES.where(
        _files.finished_at.between(at, until), or_(_files.finished_at > at, _files.number > number)
    )
    rows = connection.execute(query.order_by(_files.finished_at, _files.number).limit(limit))
    return [read_file(row) for row in rows]


def last_ended(connection: Connection, until: int) -> int:
    """
    Return the number of the last file that ended up to a moment, 0 if there is none.
    """
    query = select(_files.number).where(_files.finished_at <= until)
    return connection.execute(query.order_by(_files.finished_at.desc()).limit(1)).scalar() or 0


def attempts(connection: Connection, number: int) -> list[PastAttempt]:
    """
    Return the attempts of one file, the first one first.
    """
    rows = connection.execute(
        _SELECT_ATTEMPTS.where(_attempts.file_number == number).order_by(_attempts.attempt)
    ).mappings()
    return [PastAttempt(number=row["file_number"], **_without(row, ["file_number"])) for row in rows]


def interruptions(connection: Connection, number: int) -> list[PastInterruption]:
    """
    Return the runs of one file that were cut off, the first one first.
    """
    columns = (_interruptions.started_at, _interruptions.found_at, _interruptions.cause)
    query = select(*columns).where(_interruptions.file_number == number).order_by(_interruptions.started_at)
    return [PastInterruption(**row) for row in connection.execute(query).mappings()]


def last_attempts(connection: Connection, numbers: Collection[int]) -> dict[int, tuple[str | None, str]]:
    """
    Return (kind, message) of the last attempt at each of these files, by number; those that never ran are left out.
    """
    query = select(_attempts.file_number, _attempts.kind, _attempts.message).where(
        _files.number.in_(sorted(numbers)),
        _attempts.file_number == _files.number,
        _attempts.attempt == _files.attempts,
    )
    return {number: (kind, message) for number, kind, message in connection.execute(query)}


def first_starts(connection: Connection) -> dict[int, int]:
    """
    Return when the open files that have run were first started, by number; a run that was cut off is a start as well.
    """
    # Not a join: SQLite would begin it with the attempts, and read millions of them for a handful of files.
    first = (
        select(_attempts.started_at)
        .where(_attempts.file_number == _files.number, _attempts.attempt == 1)
        .scalar_subquery()
    )
    cut_off = (
        select(func.min(_interruptions.started_at))
        .where(_interruptions.file_number == _files.number)
        .scalar_subquery()
    )
    rows = connection.execute(select(_files.number, first, cut_off).where(_files.filed_at.is_(None)))
    started = {number: [at for at in starts if at is not None] for number, *starts in rows}
    return {number: min(starts) for number, starts in started.items() if starts}


def totals(connection: Connection) -> dict[tuple[str, str], int]:
    """
    Return every counter by (metric, label).
    """
    columns = tables.totals.c
    rows = connection.execute(select(columns.metric, columns.label, columns.value))
    return {(metric, label): value for metric, label, value in rows}


def pauses(connection: Connection) -> dict[str, tuple[int, str]]:
    """
    Return (since, message) of every pause by its reason.
    """
    columns = tables.pauses.c
    rows = connection.execute(select(columns.reason, columns.since, columns.message))
    return {reason: (since, message) for reason, since, message in rows}


def _retry_targets(connection: Connection) -> dict[int, str | None]:
    """
    Return the names in failed/ that open retries were claimed from, by number of every open file.
    """
    old = tables.files.alias("old")
    query = (
        select(_files.number, old.c.target, old.c.raw_target)
        # Outer, so that open files are asked for their old rows, and not all that was ever retried whether it is open.
        .outerjoin(old, old.c.number == _files.retry_of)
        .where(_files.filed_at.is_(None))
    )
    return {number: join_name(target, raw) for number, target, raw in connection.execute(query)}


def read_file(row: Row[Any]) -> FileRow:
    """
    Return a row with all columns of `files` as a value.
    """
    found = row._mapping  # noqa: SLF001 - SQLAlchemy's documented access by name
    return FileRow(
        name=join_name(found["name"], found["raw_name"]) or "",
        identity=Identity(
            to_unsigned(found["dev"]),
            to_unsigned(found["ino"]),
            found["size"],
            found["mtime_ns"],
            found["ctime_ns"],
        ),
        target=join_name(found["target"], found["raw_target"]),
        status_name=join_name(found["status_name"], found["raw_status_name"]),
        **_without(found, _IDENTITY + _NAMES),
    )


_IDENTITY = ("dev", "ino", "size", "mtime_ns", "ctime_ns")
_NAMES = ("name", "raw_name", "target", "raw_target", "status_name", "raw_status_name")


def _without(row: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}
