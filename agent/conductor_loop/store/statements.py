"""
The statements of a commit, in their order, and how changes become their parameters.

Every statement names its columns, so that columns added by a newer schema do not disturb it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, update
from sqlalchemy.dialects import sqlite

from conductor_loop.model import Identity, Sample
from conductor_loop.store import tables
from conductor_loop.store.changes import (
    AttemptRow,
    Changes,
    ClaimRow,
    EndRow,
    FiledRow,
    IdentityRow,
    InterruptionRow,
    TargetRow,
    WaitRow,
)
from conductor_loop.store.encoding import clean_text, split_name, to_signed

Row = dict[str, Any]
"""
Parameters of one execution, by column or bind name; what the DB-API takes, so nothing narrower.
"""


def write(connection: Connection, changes: Changes) -> None:
    """
    Write all of `changes`; the caller holds the transaction.
    """
    for statement, rows in _batches(changes):
        if rows:
            # Past SQLAlchemy's own handling of parameters, which costs more than SQLite's work: 14 µs of a file's 38.
            connection.exec_driver_sql(_text(statement, tuple(rows[0])), rows)


@lru_cache(maxsize=64)
def _text(statement: Any, columns: tuple[str, ...]) -> str:
    """
    Return the SQL of a statement with parameters of these names.
    """
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="named"), column_keys=columns))


def _insert(table: Table, *replaced: str) -> sqlite.Insert:
    """
    Return an insert that, where the key is there already, replaces the columns named and nothing else.

    The one place that depends on the dialect: PostgreSQL has the same clauses in a class of its own.
    """
    statement = sqlite.insert(table)
    if not replaced:
        return statement.on_conflict_do_nothing()
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key), set_={name: statement.excluded[name] for name in replaced}
    )


_CLAIM = _insert(tables.files)
#: Sets the columns that its parameters name.
_UPDATE = update(tables.files).where(tables.files.c.number == bindparam("_number"))
_ATTEMPT = _insert(tables.attempts)
_INTERRUPTION = _insert(tables.interruptions)
_TOTAL = _insert(tables.totals, "value")
_SAMPLE = _insert(tables.samples)
_PAUSE = _insert(tables.pauses, "since", "message")
_RESUME = delete(tables.pauses).where(tables.pauses.c.reason == bindparam("_reason"))


def _batches(changes: Changes) -> Iterator[tuple[Any, list[Row]]]:
    # An end must find the row of its claim in the same commit, a filing the row of its end.
    yield _CLAIM, [_claim(row) for row in changes.claims]
    yield _UPDATE, [_identity(row) for row in changes.identities]
    yield _UPDATE, [_wait(row) for row in changes.waits]
    yield _ATTEMPT, [_attempt(row) for row in changes.attempts]
    yield _INTERRUPTION, [_interruption(row) for row in changes.interruptions]
    yield _UPDATE, [_end(row) for row in changes.ends]
    yield _UPDATE, [_renamed(row) for row in changes.targets]
    yield _UPDATE, [_filed(row) for row in changes.filed]
    yield (
        _TOTAL,
        [{"metric": m, "label": clean_text(label), "value": v} for (m, label), v in changes.totals.items()],
    )
    yield _SAMPLE, [_sample(row) for row in changes.samples]
    yield _PAUSE, [_pause(reason, *pause) for reason, pause in changes.pauses.items() if pause is not None]
    yield _RESUME, [{"_reason": str(reason)} for reason, pause in changes.pauses.items() if pause is None]


def _claim(row: ClaimRow) -> Row:
    name, raw_name = split_name(row.name)
    return {
        "number": row.number,
        "name": name,
        "raw_name": raw_name,
        "agent": row.agent,
        "slot": row.slot,
        **_stat(row.identity),
        "found_by": row.found_by,
        "discovered_at": row.discovered_at,
        "claimed_at": row.claimed_at,
        "retry_of": row.retry_of,
    }


def _stat(identity: Identity) -> Row:
    return {
        "dev": to_signed(identity.dev),
        "ino": to_signed(identity.ino),
        "size": identity.size,
        "mtime_ns": identity.mtime_ns,
        "ctime_ns": identity.ctime_ns,
    }


def _identity(row: IdentityRow) -> Row:
    return {"_number": row.number, **_stat(row.identity)}


def _wait(row: WaitRow) -> Row:
    return {
        "_number": row.number,
        "attempts": row.attempts,
        "interruptions": row.interruptions,
        "next_attempt_at": row.next_attempt_at,
    }


def _attempt(row: AttemptRow) -> Row:
    return {
        "file_number": row.number,
        "attempt": row.attempt,
        "started_at": row.started_at,
        "duration_us": row.duration_us,
        "exit_code": row.exit_code,
        "signal": row.signal,
        "kind": row.kind,
        "message": clean_text(row.message),
        "output": row.output,
        "output_bytes": row.output_bytes,
        "survivors": row.survivors,
    }


def _interruption(row: InterruptionRow) -> Row:
    return {
        "file_number": row.number,
        "started_at": row.started_at,
        "found_at": row.found_at,
        "cause": row.cause,
    }


def _end(row: EndRow) -> Row:
    return {
        "_number": row.number,
        "size": row.size,
        "outcome": row.outcome,
        "kind": row.kind,
        "message": clean_text(row.message),
        "finished_at": row.finished_at,
        "attempts": row.attempts,
        "next_attempt_at": None,
        "exit_code": row.exit_code,
        "duration_us": row.duration_us,
        "wait_us": row.wait_us,
        "sha256": row.sha256,
        **_names(row),
    }


def _renamed(row: TargetRow) -> Row:
    return {"_number": row.number, **_names(row)}


def _names(row: EndRow | TargetRow) -> Row:
    target, raw_target = split_name(row.target)
    status_name, raw_status_name = split_name(row.status_name)
    return {
        "target": target,
        "raw_target": raw_target,
        "status_name": status_name,
        "raw_status_name": raw_status_name,
    }


def _filed(row: FiledRow) -> Row:
    return {"_number": row.number, "filed_at": row.filed_at}


def _sample(row: Sample) -> Row:
    return {
        "taken_at": row.taken_at,
        "memory_bytes": row.memory_bytes,
        "threads": row.threads,
        "fds": row.fds,
        "cpu_permille": round(row.cpu_percent * 10),
        "directory_bytes": row.directory_bytes,
        "disk_free": json.dumps(row.disk_free),
    }


def _pause(reason: str, since: int, message: str) -> Row:
    return {"reason": str(reason), "since": since, "message": clean_text(message)}
