"""
Tests of the migrations themselves: they lead to the tables that the program has.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

import made_up_migrations
import store_rows as rows
from conductor_loop.store import migrate, tables
from conductor_loop.store.database import Store
from conductor_loop.store.upgrade import migrations_dir

Shape = dict[str, object]


@pytest.fixture
def migrated(tmp_path: Path) -> Path:
    path = tmp_path / "migrated.db"
    migrate.migrate(path, migrations_dir())
    return path


def shape(path: Path) -> Shape:
    """
    Return every table's columns and every index, whatever SQL made them.
    """
    with closing(sqlite3.connect(path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found: Shape = {}
        for table in sorted(names):
            found[table] = sorted(connection.execute(f"PRAGMA table_info({table})"), key=lambda row: row[1])
            for _, index, unique, origin, partial in connection.execute(f"PRAGMA index_list({table})"):
                columns = connection.execute(f"PRAGMA index_info({index})").fetchall()
                where = connection.execute(
                    "SELECT sql FROM sqlite_master WHERE name = ?", [index]
                ).fetchone()[0]
                found[index] = (
                    table,
                    unique,
                    origin,
                    partial,
                    columns,
                    (where or "").partition(" WHERE ")[2],
                )
        return found


def test_migrations_and_a_new_store_lead_to_the_same_tables(migrated: Path, tmp_path: Path) -> None:
    """
    Column by column and index by index, types, defaults, keys and conditions included.
    """
    with closing(Store.open(tmp_path, now=rows.NOW)) as store:
        fresh = shape(store.path)

    assert shape(migrated) == fresh
    assert {"files", "alembic_version", "ix_files_open"} <= fresh.keys()


def test_alembic_sees_no_difference_between_migrations_and_tables(migrated: Path) -> None:
    """
    What `alembic check` would say.
    """
    engine = create_engine(f"sqlite:///{migrated}")
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), tables.metadata)
    engine.dispose()

    assert differences == []


def test_program_knows_the_newest_revision() -> None:
    """
    The agent does not ask Alembic what the newest revision is; it has it written down.
    """
    config = Config()
    config.set_main_option("script_location", str(migrations_dir()))
    script = ScriptDirectory.from_config(config)

    assert script.get_heads() == [tables.HEAD_REVISION]
    assert int(tables.HEAD_REVISION) == tables.SCHEMA_VERSION
    assert tables.MIN_COMPATIBLE_VERSION <= tables.SCHEMA_VERSION


def test_revision_of_a_new_store_is_the_newest(tmp_path: Path) -> None:
    """
    A new store is stamped, since it was not made by migrations.
    """
    with (
        closing(Store.open(tmp_path, now=rows.NOW)) as store,
        closing(sqlite3.connect(store.path)) as connection,
    ):
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [(tables.HEAD_REVISION,)]
        assert connection.execute("SELECT created_at, schema_version FROM meta").fetchall() == [
            (rows.NOW, tables.SCHEMA_VERSION)
        ]


def test_template_makes_a_migration_that_runs(tmp_path: Path) -> None:
    """
    Authors begin with a file that carries the rules and sets the version.
    """
    scripts = made_up_migrations.future(tmp_path / "scripts")
    revision = made_up_migrations.NEXT_REVISION
    (scripts / "versions" / f"{revision}_next.py").unlink()
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.set_main_option("path_separator", "os")

    made = command.revision(config, message="add nothing", rev_id=revision)

    assert made is not None
    assert not isinstance(made, list)
    text = Path(made.path).read_text()
    assert "Only add" in text
    with closing(Store.open(tmp_path, now=rows.NOW)) as store:
        path = store.path
    migrate.migrate(path, scripts)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT schema_version, min_compatible_version FROM meta").fetchall() == [
            (int(revision), 1)
        ]
