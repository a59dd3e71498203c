"""
The agent's own history, read after it has ended, or filled before it starts.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measure import BenchError

DATABASE = "history.db"
SPAN_US = 20 * 86_400 * 1_000_000  #: made-up rows reach this far back: younger than any retention
# One file's life as SQL over `n`, its number, and `at`, the moment it was found; columns that the schema does
# not have are left out, so that the bench measures older and newer schemas alike.
FILE_COLUMNS = {
    "number": "n",
    "name": "printf('intent-%06d.json', n)",
    "agent": "'agent'",
    "slot": "n % 64",
    "dev": "64768",
    "ino": "n",
    "size": "86",
    "mtime_ns": "at * 1000",
    "ctime_ns": "at * 1000",
    "found_by": "'event'",
    "discovered_at": "at",
    "claimed_at": "at + 1000",
    "attempts": "1",
    "interruptions": "0",
    "outcome": "'processed'",
    "message": "'processed in 2ms'",
    "finished_at": "at + 5000",
    "exit_code": "0",
    "duration_us": "1500 + n % 1000",
    "wait_us": "2000 + n % 2000",
    "sha256": "lower(hex(randomblob(32)))",
    "target": "printf('intent-%06d.json', n)",
    "status_name": "printf('intent-%06d.json-20261123-074318.status', n)",
    "filed_at": "at + 9000",
}
ATTEMPT_COLUMNS = {
    "file_number": "n",
    "attempt": "1",
    "started_at": "at + 2000",
    "duration_us": "1500 + n % 1000",
    "exit_code": "0",
    "message": "''",
    "output": "x''",
    "output_bytes": "0",
    "survivors": "0",
}


def now_ns() -> int:
    """
    Return the present moment by the clock of the history and of the file system.
    """
    return time.time_ns()


def first_claim_us(state: Path) -> int:
    """
    Return the moment of the first claim.
    """
    with _open(state) as connection:
        moment: int | None = connection.execute("SELECT min(claimed_at) FROM files").fetchone()[0]
    if moment is None:
        raise BenchError(f"{state}: the history has no file")
    return moment


def outcomes(state: Path) -> dict[str, int]:
    """
    Return how many files ended in which way.
    """
    with _open(state) as connection:
        return dict(connection.execute("SELECT coalesce(outcome, 'open'), count(*) FROM files GROUP BY 1"))


def fill(state: Path, count: int) -> None:
    """
    Add `count` processed files with their attempts to the history of an agent that does not run.
    """
    begin = now_ns() // 1000 - SPAN_US
    with _open(state) as connection:
        # Durability is not measured here.
        connection.execute("PRAGMA synchronous=OFF")
        first = connection.execute("SELECT coalesce(max(number), 0) + 1 FROM files").fetchone()[0]
        rows = (
            f"WITH RECURSIVE serial(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM serial LIMIT {count}),"
            f" life AS (SELECT n, {begin} + (n - {first}) * {SPAN_US // count} AS at FROM serial)"
        )
        for table, columns in (("files", FILE_COLUMNS), ("attempts", ATTEMPT_COLUMNS)):
            known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            names = [name for name in columns if name in known]
            values = ", ".join(columns[name] for name in names)
            connection.execute(f"{rows} INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM life")
            connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def last_number(state: Path) -> int:
    """
    Return the highest number of a file, 0 before the first.
    """
    with _open(state) as connection:
        number: int = connection.execute("SELECT coalesce(max(number), 0) FROM files").fetchone()[0]
    return number


def ended_after(state: Path, number: int) -> tuple[int, int, int]:
    """
    Return how many files with higher numbers were processed, and the moments of their first claim and last end.
    """
    with _open(state) as connection:
        count, first, last = connection.execute(
            "SELECT count(*), coalesce(min(claimed_at), 0), coalesce(max(finished_at), 0) FROM files"
            " WHERE number > ? AND outcome = 'processed'",
            (number,),
        ).fetchone()
    return count, first, last


class Filed:
    """
    The made-up rows of an agent that does not run, about to get real files.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.store_id: str = connection.execute("SELECT store_id FROM meta").fetchone()[0]
        count: int = connection.execute("SELECT count(*) FROM files").fetchone()[0]
        self.names = [f"old-{number:06d}.json" for number in range(1, count + 1)]

    def is_at(self, number: int, found: os.stat_result) -> None:
        """
        Say which file the row is of; its status file is named after it.
        """
        name = self.names[number - 1]
        self._connection.execute(
            "UPDATE files SET name=?, target=?, status_name=?, dev=?, ino=?, size=?, mtime_ns=? WHERE number=?",
            (
                name,
                name,
                f"{name}.status",
                found.st_dev,
                found.st_ino,
                found.st_size,
                found.st_mtime_ns,
                number,
            ),
        )


@contextlib.contextmanager
def filed(state: Path) -> Iterator[Filed]:
    """
    Give the made-up rows, to be pointed at real files.
    """
    with _open(state) as connection, connection:
        yield Filed(connection)


@contextlib.contextmanager
def _open(state: Path) -> Iterator[sqlite3.Connection]:
    path = state / DATABASE
    if not path.exists():
        raise BenchError(f"{path}: the agent has left no history")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        yield connection
