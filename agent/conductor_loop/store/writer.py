"""
The one connection that writes.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from sqlalchemy import Connection

from conductor_loop.errors import StoreError
from conductor_loop.model import display_name
from conductor_loop.store import engine, statements
from conductor_loop.store.changes import Changes
from conductor_loop.store.failures import explained

log = logging.getLogger(__name__)

_WAL_LIMIT_BYTES = 4 << 20  #: what autocheckpoint settles at; more means that a reader was in its way


class Writer:
    """
    Commits changes; used by one thread at a time, which need not be the one that made it.

    Args:
        path: of an existing database of a schema that this program may write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = engine.writer_engine(path)
        self._connection: Connection | None = None
        self._file = _file_id(path)

    def commit(self, changes: Changes) -> None:
        """
        Write all of `changes` in one durable transaction, or nothing.

        After an error nobody knows whether it was written: commit the same changes again, which is harmless.

        Raises:
            CorruptStoreError: the database is damaged.
            StoreError: it cannot be written now.
        """
        if not changes:
            return
        try:
            with explained(self._path):
                connection = self._connected()
                with connection.begin():
                    statements.write(connection, changes)
        except BaseException:
            self.close()  # the next try begins with a fresh connection, whatever this one met
            raise

    def idle(self) -> None:
        """
        Empty a write-ahead log that has grown; for moments when there is nothing to commit.

        Raises:
            StoreError: the database cannot be written now.
        """
        if engine.wal_bytes(self._path) <= _WAL_LIMIT_BYTES:
            return
        try:
            with explained(self._path):
                self._checkpoint(self._connected())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """
        Close the connection; the next commit opens a new one. Safe to call twice.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self) -> Connection:
        self._check_file()
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _check_file(self) -> None:
        # SQLite goes on writing into a removed file, and nobody would ever see what it wrote.
        if _file_id(self._path) != self._file:
            raise StoreError(
                f"{display_name(str(self._path))}: the database was removed or replaced while in use; "
                "restart the agent"
            )

    @staticmethod
    def _checkpoint(connection: Connection) -> None:
        driver = connection.connection.cursor()
        try:
            driver.execute("PRAGMA busy_timeout=0")  # a reader in the way: the next idle moment will do
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            driver.execute(f"PRAGMA busy_timeout={round(engine.WRITER_BUSY_SECONDS * 1000)}")
            driver.close()


def _file_id(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
