"""
The store of one agent: opened once, written by one thread, read by all.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path

from sqlalchemy import Connection, update

from conductor_loop.errors import CorruptStoreError, StoreError
from conductor_loop.model import display_name
from conductor_loop.store import engine, opening, putback, queries
from conductor_loop.store.damage import find_damage
from conductor_loop.store.failures import explained
from conductor_loop.store.putback import PutBack
from conductor_loop.store.schema import DATABASE_NAME, read_schema
from conductor_loop.store.tables import meta
from conductor_loop.store.upgrade import upgrade
from conductor_loop.store.writer import Writer

log = logging.getLogger(__name__)


class Store:
    """
    An open store; made by `Store.open`.

    Attributes:
        path: of the database.
        store_id: begins the id of every file; a new store has a new one.
        sqlite_version: of the library in use.
        set_aside: where a destroyed store went when this one was opened.
        put_back: what is to be said of a copy that was put back and opened for the first time now.
        writer: for the one thread that writes.
    """

    sqlite_version = sqlite3.sqlite_version

    def __init__(
        self, path: Path, *, store_id: str, set_aside: Path | None, put_back: PutBack | None
    ) -> None:
        self.path = path
        self.store_id = store_id
        self.set_aside = set_aside
        self.put_back = put_back
        self.writer = Writer(path)
        self._readers = engine.Readers(path)

    @classmethod
    def open(cls, state_dir: Path, *, now: int, scripts: Path | None = None) -> Store:
        """
        Open the store in `state_dir`: make it if missing, upgrade it if old, set it aside if damaged.

        The caller holds the lock that keeps other agents away.

        Args:
            state_dir: an existing directory on a local file system.
            now: the moment.
            scripts: the migrations; None: those of this program.

        Raises:
            IncompatibleStoreError: the database is too new for this program.
            StoreError: it cannot be read or written.
        """
        path = state_dir / DATABASE_NAME
        _check_directory(state_dir)
        aside = None
        try:
            store_id, put_back = _usable(path, now, scripts)
        except CorruptStoreError as error:
            aside = opening.set_aside(path, now)
            log.error("the store is damaged and was set aside as %s; a new one begins: %s", aside, error)  # noqa: TRY400
            store_id, put_back = _usable(path, now, scripts)
        if put_back is not None:
            log.warning("%s", put_back.describe())
        return cls(path, store_id=store_id, set_aside=aside, put_back=put_back)

    def reader(self, deadline_seconds: float = 1.0) -> AbstractContextManager[Connection]:
        """
        Give a read-only connection for a moment, from any thread.

        Raises:
            QueryTimeoutError: the deadline passed.
            StoreError: the store cannot be read.
        """
        return self._readers.open(deadline_seconds)

    def quick_check(self, deadline_seconds: float) -> list[str] | None:
        """
        Return what is damaged, nothing for a sound database, None if the time did not suffice to tell.

        Raises:
            StoreError: the store cannot be read.
        """
        return find_damage(self.reader, deadline_seconds=deadline_seconds)

    def mark_corrupt(self, reason: str) -> None:
        """
        Have the next `Store.open` set this database aside.

        Raises:
            StoreError: the mark could not be written.
        """
        try:
            opening.write_mark(self.path, reason)
        except OSError as error:
            raise StoreError(
                f"{display_name(str(self.path))}: cannot be marked as damaged: {error}"
            ) from error

    def size_bytes(self) -> int:
        """
        Return what the store takes on disk.
        """
        return engine.size_bytes(self.path)

    def close(self) -> None:
        """
        Close the writer; safe to call twice.
        """
        self.writer.close()


def _check_directory(state_dir: Path) -> None:
    if not state_dir.is_dir():
        raise StoreError(
            f"{display_name(str(state_dir))}: no such directory; make it, or set agent.state_dir"
        )
    if not os.access(state_dir, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        raise StoreError(
            f"{display_name(str(state_dir))}: this user must be allowed to read and write in this "
            "directory (agent.state_dir), and its file system must not be read-only"
        )


def _usable(path: Path, now: int, scripts: Path | None) -> tuple[str, PutBack | None]:
    """
    Bring the database into a state in which it can be read and written; return its id, and what it is if it is a copy.
    """
    reason = opening.mark(path)
    if reason is not None:
        raise CorruptStoreError(f"{display_name(str(path))}: was found damaged while in use: {reason}")
    if engine.file_size(path) == 0:
        path.unlink(missing_ok=True)
        opening.set_aside(path, now)  # a log that lost its database
        opening.create(path, now)
    with explained(path), engine.writer_engine(path).begin() as connection:
        found = read_schema(path, connection)
    found.check_compatible()
    if found.behind:
        upgrade(path.parent, scripts=scripts)
    with explained(path), engine.writer_engine(path).connect() as connection:
        _try_out(connection)
    with explained(path), engine.writer_engine(path).begin() as connection:
        return found.store_id, putback.put_to_use(connection, now)


def _try_out(connection: Connection) -> None:
    # What the agent is about to need, so that trouble shows now and not in the middle of the work.
    connection.execute(update(meta).values(id=1))  # BEGIN IMMEDIATE alone is content with a read-only file
    queries.open_files(connection)
    queries.totals(connection)
    queries.pauses(connection)
    queries.highest_number(connection)
    connection.rollback()
