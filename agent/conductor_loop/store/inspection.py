"""
Looking at a database without changing anything in it or beside it, whether an agent uses it or not.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import OperationalError

from conductor_loop.errors import CorruptStoreError, StoreError
from conductor_loop.model import display_name
from conductor_loop.store import opening, queries
from conductor_loop.store.engine import Readers, size_bytes
from conductor_loop.store.failures import QueryTimeoutError
from conductor_loop.store.schema import DATABASE_NAME, Schema, read_schema
from conductor_loop.store.tables import SCHEMA_VERSION, samples

_MOST_DAMAGES = 100  #: that a check lists
_LOOKS = 5  #: at an index that its writer is changing at this very moment; one in thousands meets that
_LOOK_AGAIN_SECONDS = 0.02


class Contents(NamedTuple):
    """
    What a database holds that tells how its agent stands.
    """

    schema: Schema
    size_bytes: int
    marked: str | None  #: why the next start sets it aside
    rows: list[queries.FileRow] | None = None  #: the open ones, by number; None where the schema is not ours
    highest_number: int = 0
    last_sample_at: int | None = None  #: moment


def contents(state_dir: Path, deadline_seconds: float) -> Contents:
    """
    Return what the database in `state_dir` holds.

    Raises:
        StoreError: there is none, it is not one of ours, or it cannot be read.
    """
    path = database(state_dir)
    with look(path, deadline_seconds) as connection:
        found = read_schema(path, connection)
        outside = Contents(found, size_bytes(path), opening.mark(path))
        if found.behind or found.min_compatible_version > SCHEMA_VERSION:
            return outside
        return outside._replace(
            rows=queries.open_files(connection),
            highest_number=queries.highest_number(connection),
            last_sample_at=connection.execute(select(func.max(samples.c.taken_at))).scalar(),
        )


def next_id(state_dir: Path, deadline_seconds: float) -> str:
    """
    Return the id that the next file gets if nothing else is claimed before it.

    Raises:
        StoreError: there is no database, it is not one of ours, or it cannot be read.
    """
    path = database(state_dir)
    with look(path, deadline_seconds) as connection:
        return f"{read_schema(path, connection).store_id}-{queries.highest_number(connection) + 1}"


def database(state_dir: Path) -> Path:
    """
    Return the path of the database in `state_dir`.

    Raises:
        StoreError: there is none.
    """
    path = state_dir / DATABASE_NAME
    if not path.exists():
        raise StoreError(
            f"{display_name(str(path))}: no such database; the agent makes it at its first start"
        )
    return path


def damages(path: Path, *, full: bool = False, deadline_seconds: float = math.inf) -> list[str] | None:
    """
    Return what is damaged, nothing for a sound database, None if the time did not suffice to tell.

    Args:
        full: compare the indexes with the tables as well, which takes several times as long.

    Raises:
        StoreError: the database cannot be read.
    """
    found = _damages(path, full=full, deadline_seconds=deadline_seconds)
    # Damage stays; what only an agent's start in the midst of it made look like damage does not.
    return _damages(path, full=full, deadline_seconds=deadline_seconds) if found else found


@contextmanager
def look(path: Path, deadline_seconds: float) -> Iterator[Connection]:
    """
    Give a connection that reads and leaves no trace.

    Raises:
        QueryTimeoutError: the deadline passed.
        StoreError: the database cannot be read.
    """
    with Readers(path, traceless=True).open(deadline_seconds) as connection:
        _begin_reading(connection)
        yield connection


def _damages(path: Path, *, full: bool, deadline_seconds: float) -> list[str] | None:
    check = "integrity_check" if full else "quick_check"
    try:
        with look(path, deadline_seconds) as connection:
            found = connection.execute(text(f"PRAGMA {check}({_MOST_DAMAGES})")).scalars().all()
    except CorruptStoreError as error:
        return [str(error)]
    except QueryTimeoutError:
        if math.isinf(deadline_seconds):  # SQLite lets no exception through, and nothing else cuts it off
            raise KeyboardInterrupt from None
        return None
    return [line for line in found if line != "ok"]


def _begin_reading(connection: Connection) -> None:
    for left in reversed(range(_LOOKS)):
        try:
            connection.exec_driver_sql("PRAGMA schema_version").fetchall()
        except OperationalError as error:
            code = str(getattr(error.orig, "sqlite_errorname", ""))
            if not left or not code.startswith("SQLITE_READONLY"):
                raise
            threading.Event().wait(_LOOK_AGAIN_SECONDS)
        else:
            return
