"""
Looking at a database without changing anything in it or beside it, whether an agent uses it or not.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from conductor_loop import clock
from conductor_loop.errors import StoreError
from conductor_loop.store import opening, putback, queries
from conductor_loop.store.damage import find_damage
from conductor_loop.store.engine import Readers, size_bytes
from conductor_loop.store.schema import Schema, database, read_schema
from conductor_loop.store.tables import SCHEMA_VERSION, samples

_UNSETTLED_SECONDS = 0.3  #: longer than an agent takes to make log and index, or to remove them
_LEAST_LOOKS = 3  #: on a machine so busy that one takes longer
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
    pauses: Mapping[str, tuple[int, str]] = MappingProxyType({})  #: reason -> since, message


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
            pauses=queries.pauses(connection),
        )


def next_id(state_dir: Path, deadline_seconds: float) -> str:
    """
    Return the id that the next file gets if nothing else is claimed before it.

    Raises:
        StoreError: there is no database, it is not one of ours, or it cannot be read.
    """
    path = database(state_dir)
    with look(path, deadline_seconds) as connection:
        copy = putback.find(connection, clock.now_us())
        number = queries.last_number(connection) + 1 if copy is None else copy.next_number
        return f"{read_schema(path, connection).store_id}-{number}"


def damages(path: Path, *, full: bool = False, deadline_seconds: float = math.inf) -> list[str] | None:
    """
    Return what is damaged, nothing for a sound database, None if the time did not suffice to tell.

    Args:
        full: compare the indexes with the tables as well, which takes several times as long.

    Raises:
        StoreError: the database cannot be read.
    """
    check = partial(find_damage, partial(look, path), full=full, deadline_seconds=deadline_seconds)
    # Damage stays; what only an agent's start in the midst of it made look like damage does not.
    return check() and check()


@contextmanager
def look(path: Path, deadline_seconds: float) -> Iterator[Connection]:
    """
    Give a connection that reads and leaves no trace.

    Raises:
        QueryTimeoutError: the deadline passed.
        StoreError: the database cannot be read.
    """
    with ExitStack() as stack:
        yield _begin_reading(path, deadline_seconds, stack)


def _begin_reading(path: Path, deadline_seconds: float, stack: ExitStack) -> Connection:
    """
    Return a connection that has begun to read; `stack` closes it.

    An agent that starts or stops makes or removes log and index, so that what there was a moment ago is not what is
    opened now.
    """
    ends_at = time.monotonic() + _UNSETTLED_SECONDS
    looks = 0
    while True:
        looks += 1
        try:
            with ExitStack() as attempt:
                connection = attempt.enter_context(Readers(path, traceless=True).open(deadline_seconds))
                connection.exec_driver_sql("PRAGMA schema_version").fetchall()
                stack.enter_context(attempt.pop_all())
                return connection
        except StoreError:
            if looks >= _LEAST_LOOKS and time.monotonic() >= ends_at:
                raise
        threading.Event().wait(_LOOK_AGAIN_SECONDS)
