"""
Connections to the SQLite file: one that writes, short ones that read.

Never open the database file by other means in this process while it is in use: closing any descriptor of it
drops SQLite's locks.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from conductor_loop.errors import StoreError
from conductor_loop.model import display_name
from conductor_loop.store.failures import explained

WRITER_BUSY_SECONDS = 2.0  #: how long a commit waits for another process's lock
READER_BUSY_SECONDS = 1.0
_PROGRESS_STEPS = 5_000  #: of SQLite's virtual machine between two looks at the clock; well under 1 ms

_MAKER_PRAGMAS = (
    # Takes effect only in a file without tables, and before WAL; a file without it never shrinks.
    "auto_vacuum=INCREMENTAL",
    # One file when it is done, with no log beside it: it is about to be renamed.
    "journal_mode=DELETE",
    "synchronous=FULL",
)
_WRITER_PRAGMAS = (
    "journal_mode=WAL",
    # An outcome lets the file be moved: it must not be lost with the power.
    "synchronous=FULL",
    # The writer is the only connection that checkpoints.
    "wal_autocheckpoint=1000",
    f"journal_size_limit={16 << 20}",
    "mmap_size=0",
)


def maker_engine(path: Path) -> Engine:
    """
    Return an engine for making the tables in an empty file that nobody else knows yet.
    """
    return _engine(lambda: connection_to(path, "rw", WRITER_BUSY_SECONDS, _MAKER_PRAGMAS), "BEGIN IMMEDIATE")


def writer_engine(path: Path) -> Engine:
    """
    Return an engine whose transactions are `BEGIN IMMEDIATE`; each of its connections is a new one.

    A deferred transaction that reads first and writes later fails at once, whatever the busy timeout is. The
    file must exist: a store that was removed is not begun anew in silence.
    """
    return _engine(lambda: connection_to(path, "rw", WRITER_BUSY_SECONDS, _WRITER_PRAGMAS), "BEGIN IMMEDIATE")


class Readers:
    """
    Makes short read-only connections, from any thread.

    Args:
        path: of the database.
        traceless: change nothing beside the database either; otherwise a log and its index are made where there are
            none.
    """

    def __init__(self, path: Path, *, traceless: bool = False) -> None:
        pragmas = ("query_only=ON", "wal_autocheckpoint=0")
        self._path = path
        self._engine = _engine(
            lambda: connection_to(
                path, _traceless(path) if traceless else "ro", READER_BUSY_SECONDS, pragmas
            ),
            "BEGIN",
        )

    @contextmanager
    def open(self, deadline_seconds: float) -> Iterator[Connection]:
        """
        Give a connection in one read transaction. While it is open the write-ahead log cannot be emptied.

        Args:
            deadline_seconds: after which the running query is cut off.

        Raises:
            QueryTimeoutError: the deadline passed.
            StoreError: the database cannot be read.
        """
        with explained(self._path), self._engine.begin() as connection:
            ends_at = time.monotonic() + deadline_seconds
            driver = cast("sqlite3.Connection", connection.connection.driver_connection)
            driver.set_progress_handler(lambda: time.monotonic() > ends_at, _PROGRESS_STEPS)
            yield connection


def size_bytes(path: Path) -> int:
    """
    Return what the database and its write-ahead log take on disk.
    """
    return file_size(path) + wal_bytes(path)


def wal_bytes(path: Path) -> int:
    """
    Return the size of the write-ahead log.
    """
    return file_size(path.with_name(path.name + "-wal"))


def file_size(path: Path) -> int:
    """
    Return the size of a file in bytes, 0 if it is missing.
    """
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _engine(connect: Callable[[], sqlite3.Connection], begin: str) -> Engine:
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _traceless(path: Path) -> str:
    """
    Return the mode of a connection that reads what is there and makes nothing.

    Raises:
        StoreError: SQLite cannot do that here.
    """
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    if log.exists() and index.exists():
        return "ro&readonly_shm=1"  # the index of a dead agent is not believed but made anew, in memory
    if file_size(log):
        raise StoreError(
            f"{display_name(str(path))}: its write-ahead log has no index; the agent makes one when it is started"
        )
    return "ro&immutable=1"  # nobody has it open, and nothing of it is in a log


def connection_to(
    path: Path, mode: str, busy_seconds: float, pragmas: tuple[str, ...] = ()
) -> sqlite3.Connection:
    """
    Return a bare connection, in which no transaction begins by itself.

    Args:
        mode: "ro" or "rw"; the file is never made.
        busy_seconds: how long it waits for another process's lock.
    """
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,  # the sqlite3 module begins no transactions of its own
        check_same_thread=False,  # the thread that opens the store is not the one that writes
    )
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection
