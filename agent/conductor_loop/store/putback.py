"""
A copy that was put back in the place of its database: the ids that were given out since are not given out again.

Nobody knows them any more. So a copy says when it was made, and whoever opens it first goes on with numbers that are
higher than the lost ones can be.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from sqlalchemy import Connection, delete

from conductor_loop import clock
from conductor_loop.store import queries, statements
from conductor_loop.store.changes import Changes
from conductor_loop.store.tables import totals

_COPIED = ("copied", "at")  #: key of the moment of a copy, among the counters
_AT_LEAST = 1_000_000  #: numbers left out, should the clock have been set back since
_PER_SECOND = 10_000  #: numbers left out; more files than that no agent can claim


class PutBack(NamedTuple):
    """
    What there is to say of a database that was put back.
    """

    copied_at: int  #: moment
    next_number: int  #: of the next file

    def describe(self) -> str:
        return (
            f"the database was put back from a copy of {clock.rfc3339(self.copied_at)}; "
            f"files since then are not in it; ids go on at {self.next_number}"
        )


def sign(copy: sqlite3.Connection, copied_at: int) -> None:
    """
    Have a copy say when it was made. The copy of a copy keeps the earlier moment: since then numbers are lost.
    """
    statement = "INSERT OR IGNORE INTO totals (metric, label, value) VALUES (?, ?, ?)"
    copy.execute(statement, (*_COPIED, copied_at))


def find(connection: Connection, now: int) -> PutBack | None:
    """
    Tell whether an open database is a copy, and with which number it goes on if it is put to use now.
    """
    copied_at = queries.totals(connection).get(_COPIED)
    if copied_at is None:
        return None
    # Both, and not the greater: where a copy is put back twice, the second time is ahead of the first as well.
    left_out = _AT_LEAST + max(0, now - copied_at) * _PER_SECOND // clock.SECOND
    return PutBack(copied_at, queries.last_number(connection) + left_out + 1)


def put_to_use(connection: Connection, now: int) -> PutBack | None:
    """
    Make a copy the database of an agent, once; the caller holds the transaction.
    """
    found = find(connection, now)
    if found is not None:
        statements.write(connection, Changes(totals={queries.LAST_NUMBER: found.next_number - 1}))
        metric, label = _COPIED
        connection.execute(delete(totals).where(totals.c.metric == metric, totals.c.label == label))
    return found
