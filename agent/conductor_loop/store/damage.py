"""
Looking for damage in a database.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

from sqlalchemy import Connection, text

from conductor_loop.errors import CorruptStoreError
from conductor_loop.store.failures import QueryTimeoutError

_MOST = 100  #: places that are named


def find_damage(
    read: Callable[[float], AbstractContextManager[Connection]],
    *,
    full: bool = False,
    deadline_seconds: float = math.inf,
) -> list[str] | None:
    """
    Return what is damaged, nothing for a sound database, None if the time did not suffice to tell.

    Args:
        read: gives a connection that is cut off after so many seconds.
        full: compare the indexes with the tables as well, which takes several times as long.

    Raises:
        StoreError: the database cannot be read.
    """
    check = "integrity_check" if full else "quick_check"
    try:
        with read(deadline_seconds) as connection:
            found = connection.execute(text(f"PRAGMA {check}({_MOST})")).scalars().all()
    except CorruptStoreError as error:
        return [str(error)]
    except QueryTimeoutError:
        if math.isinf(deadline_seconds):  # SQLite lets no exception through, and nothing else cuts it off
            raise KeyboardInterrupt from None
        return None
    return [line for line in found if line != "ok"]
