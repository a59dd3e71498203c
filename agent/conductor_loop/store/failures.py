"""
What SQLite's errors mean for the person who reads them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from conductor_loop.errors import CorruptStoreError, StoreError
from conductor_loop.model import display_name


class QueryTimeoutError(StoreError):
    """
    A query was cut off at its deadline; the store itself is well.
    """

    kind = "store_timeout"


_DAMAGED = {
    sqlite3.SQLITE_CORRUPT: "the database is damaged",
    sqlite3.SQLITE_NOTADB: "this is not a database, or its beginning is damaged",
}
_UNUSABLE = {
    sqlite3.SQLITE_PERM: "no permission",
    sqlite3.SQLITE_BUSY: "the database is locked by another process",
    sqlite3.SQLITE_LOCKED: "the database is locked by another connection",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_READONLY: "the database cannot be written: no permission, or a read-only file system",
    sqlite3.SQLITE_IOERR: "the disk reported an input/output error",
    sqlite3.SQLITE_FULL: "disk full: the database cannot grow",
    sqlite3.SQLITE_CANTOPEN: "the database cannot be opened: "
    "its directory must exist, and this user must be allowed to read and write in it",
    sqlite3.SQLITE_PROTOCOL: "the database is locked by another process (locking protocol)",
    sqlite3.SQLITE_NOLFS: "the file system cannot hold so large a file",
}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """
    Turn SQLite's errors into ours, naming the file and the cause in plain words; programming errors pass.

    Raises:
        CorruptStoreError: the file is damaged.
        QueryTimeoutError: the deadline of a reader passed.
        StoreError: anything else that is not this program's fault.
    """
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        meaning = _meaning(path, cause)
        if meaning is None:
            raise
        raise meaning from error


def _meaning(path: Path, cause: BaseException | None) -> StoreError | None:
    code = getattr(cause, "sqlite_errorcode", None)
    if code is None:  # raised by the sqlite3 module itself, so misuse
        return None
    primary = code & 0xFF
    where, detail = display_name(str(path)), f"({cause}, {getattr(cause, 'sqlite_errorname', code)})"
    if primary == sqlite3.SQLITE_INTERRUPT:
        return QueryTimeoutError(f"{where}: the query took too long and was cut off")
    if primary in _DAMAGED:
        return CorruptStoreError(f"{where}: {_DAMAGED[primary]} {detail}")
    if primary in _UNUSABLE:
        return StoreError(f"{where}: {_UNUSABLE[primary]} {detail}")
    return None
