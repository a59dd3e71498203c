"""
Run the migrations: `python -m conductor_loop.store.migrate DATABASE SCRIPTS`.

A process of its own, for the memory that Alembic takes. Why it failed is one line on stdout, beside the
traceback on stderr.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, event
from sqlalchemy.pool import NullPool

_BUSY_SECONDS = 30.0


def migrate(database: Path, scripts: Path) -> None:
    """
    Bring `database` to the newest revision in one transaction.

    Args:
        database: of SQLite; made if it is missing.
        scripts: the directory with env.py and versions/.
    """
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    engine = create_engine("sqlite://", creator=lambda: _connect(database), poolclass=NullPool)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _connect(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(database, timeout=_BUSY_SECONDS, isolation_level=None)
    # With them on, rebuilding a table in batch mode empties the tables that refer to it.
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def main(arguments: list[str]) -> None:
    try:
        migrate(*map(Path, arguments))
    except Exception as error:  # the boundary of this process; raised again for the traceback
        sys.stdout.write(f"{type(error).__name__}: {error}".splitlines()[0] + "\n")
        raise


if __name__ == "__main__":
    main(sys.argv[1:])
