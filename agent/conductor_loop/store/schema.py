"""
Which schema a database has, and whether this program may use it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, inspect, select

from conductor_loop import __version__
from conductor_loop.errors import IncompatibleStoreError, StoreError
from conductor_loop.model import display_name
from conductor_loop.store.engine import Readers, file_size
from conductor_loop.store.tables import HEAD_REVISION, SCHEMA_VERSION, alembic_version, meta

DATABASE_NAME = "history.db"
_DEADLINE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """
    What a database says of itself.
    """

    path: Path
    store_id: str
    revision: str
    schema_version: int
    min_compatible_version: int
    head: str = HEAD_REVISION  #: the revision of this program
    sqlite_version: str = sqlite3.sqlite_version

    @property
    def behind(self) -> bool:
        """
        Tell whether migrations of this program are still to be run.
        """
        return self.schema_version <= SCHEMA_VERSION and self.revision != self.head

    def check_compatible(self) -> None:
        """
        Refuse a schema whose author says that programs as old as this one must not touch it.

        Raises:
            IncompatibleStoreError
        """
        if self.min_compatible_version > SCHEMA_VERSION:
            raise IncompatibleStoreError(
                f"{display_name(str(self.path))}: a newer conductor-loop brought the database to schema "
                f"{self.schema_version}, which takes a program of schema {self.min_compatible_version} or later; "
                f"conductor-loop {__version__} has schema {SCHEMA_VERSION}. Install the newer version again, or "
                "put the copy that was made before its upgrade (in the folder backups) in its place"
            )


def schema(state_dir: Path) -> Schema:
    """
    Return the schema of the database in `state_dir`, without changing anything.

    Raises:
        StoreError: there is none, or it cannot be read.
        PermissionError: this user may not read it.
    """
    path = database(state_dir)
    with Readers(path).open(_DEADLINE_SECONDS) as connection:
        return read_schema(path, connection)


def database(state_dir: Path) -> Path:
    """
    Return the path of the database in `state_dir`.

    Raises:
        StoreError: there is none.
        PermissionError: this user may not read it.
    """
    path = state_dir / DATABASE_NAME
    if not is_there(path):
        raise StoreError(
            f"{display_name(str(path))}: no such database; the agent makes it at its first start"
        )
    for part in (path, *(path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm"))):
        # Asked before SQLite is, which does not tell this from other reasons. Not by opening it: see store/engine.py.
        if part.exists() and not os.access(part, os.R_OK, effective_ids=True) and part.exists():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(part))
    return path


def is_there(path: Path) -> bool:
    """
    Tell whether there is a database; an empty file is none yet, as it is for the agent.

    Raises:
        PermissionError: this user may not look.
    """
    return path.exists() and file_size(path) > 0


def read_schema(path: Path, connection: Connection) -> Schema:
    """
    Return the schema that an open database names.

    Raises:
        StoreError: the database is not one of ours.
    """
    columns = meta.c
    query = select(columns.store_id, columns.schema_version, columns.min_compatible_version)
    row = connection.execute(query).first() if _is_ours(connection) else None
    revision = None if row is None else connection.execute(select(alembic_version.c.version_num)).scalar()
    if row is None or revision is None:
        raise StoreError(
            f"{display_name(str(path))}: a database, but not one of conductor-loop; move it out of the way"
        )
    return Schema(
        path=path,
        store_id=row.store_id,
        revision=revision,
        schema_version=row.schema_version,
        min_compatible_version=row.min_compatible_version,
    )


def _is_ours(connection: Connection) -> bool:
    return {meta.name, alembic_version.name} <= set(inspect(connection).get_table_names())
