"""
Making a new database, and moving a damaged one out of the way.
"""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

from sqlalchemy import insert
from sqlalchemy.schema import CreateTable

from conductor_loop import clock
from conductor_loop.errors import StoreError
from conductor_loop.model import display_name
from conductor_loop.store import engine, tables
from conductor_loop.store.failures import explained

log = logging.getLogger(__name__)

#: The database first: without its log it can look sound, and would give its latest numbers out again.
_SUFFIXES = ("", "-wal", "-shm")


def create(path: Path, now: int) -> None:
    """
    Make a new database with an id of its own, complete or not at all.

    Args:
        path: where; an empty file there is replaced.
        now: the moment.

    Raises:
        StoreError: it could not be made.
    """
    new = _beside(path, ".new")
    try:
        new.unlink(missing_ok=True)
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))  # outputs may hold secrets
        with explained(new):
            _fill(new, now)
        new.replace(path)
        sync(path.parent)
    except OSError as error:
        raise StoreError(
            f"{display_name(str(path))}: the database cannot be made: {error.strerror}"
        ) from error


def set_aside(path: Path, now: int) -> Path | None:
    """
    Rename a database and what belongs to it to `<name>.corrupt-<moment>`; remove the mark of damage.

    A log without its database goes too: SQLite would write it into the next one of that name.

    Returns:
        The new path of the database; None if there was none.

    Raises:
        StoreError: it could not be renamed.
    """
    present = [suffix for suffix in _SUFFIXES if _beside(path, suffix).exists()]
    aside = _free_name(path, now)
    try:
        for suffix in present:
            _beside(path, suffix).rename(_beside(aside, suffix))
        _mark_path(path).unlink(missing_ok=True)
        sync(path.parent)
    except OSError as error:
        raise StoreError(f"{display_name(str(path))}: cannot be set aside: {error.strerror}") from error
    return aside if "" in present else None


def write_mark(path: Path, reason: str) -> None:
    """
    Leave a file that says: this database is damaged, set it aside at the next start.

    Raises:
        OSError: it could not be written.
    """
    _mark_path(path).write_text(reason, encoding="utf-8", errors="backslashreplace")


def mark(path: Path) -> str | None:
    """
    Return the reason in the mark of damage, None if there is no mark.
    """
    try:
        return _mark_path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def sync(path: Path) -> None:
    """
    Make a file, or the names in a directory, survive power loss; not for a database in use.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fill(path: Path, now: int) -> None:
    with engine.maker_engine(path).begin() as connection:
        for table in tables.metadata.sorted_tables:
            connection.execute(CreateTable(table))
            # In one order: SQLite chooses between equally good indexes by it, and SQLAlchemy keeps them in a set.
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                index.create(connection)
        tables.alembic_version.create(connection)
        connection.execute(insert(tables.alembic_version).values(version_num=tables.HEAD_REVISION))
        connection.execute(
            insert(tables.meta).values(
                id=1,
                store_id=secrets.token_hex(5),
                created_at=now,
                schema_version=tables.SCHEMA_VERSION,
                min_compatible_version=tables.MIN_COMPATIBLE_VERSION,
            )
        )


def _free_name(path: Path, now: int) -> Path:
    wanted = _beside(path, f".corrupt-{clock.compact(now)}")
    aside, count = wanted, 1
    while any(_beside(aside, suffix).exists() for suffix in _SUFFIXES):
        count += 1
        aside = wanted.with_name(f"{wanted.name}-{count}")
    return aside


def _mark_path(path: Path) -> Path:
    return _beside(path, ".corrupt")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
