"""
A store as seen by somebody who does not own it: read, never made, upgraded or written.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from sqlalchemy import Connection

from conductor_loop.errors import StoreError
from conductor_loop.model import display_name
from conductor_loop.store.inspection import look
from conductor_loop.store.schema import database, read_schema

_SCHEMA_SECONDS = 5.0


class View:
    """
    The database in `state_dir`, beside whoever writes it.

    Raises:
        StoreError: there is none, it cannot be read, or its schema is not yet that of this program.
        IncompatibleStoreError: it is too new for this program.
    """

    def __init__(self, state_dir: Path) -> None:
        path = database(state_dir)
        with look(path, _SCHEMA_SECONDS) as connection:
            found = read_schema(path, connection)
        found.check_compatible()
        if found.behind:
            raise StoreError(
                f"{display_name(str(found.path))}: has the schema of an older version ({found.revision}); "
                "bring it to this one with `conductor-loop db upgrade`"
            )
        self.path = path
        self.store_id = found.store_id

    def reader(self, deadline_seconds: float = 1.0) -> AbstractContextManager[Connection]:
        """
        Give a connection that reads and leaves no trace, for a moment, from any thread.

        Raises:
            QueryTimeoutError: the deadline passed.
            StoreError: the store cannot be read.
        """
        return look(self.path, deadline_seconds)
