"""
Tests of bringing an older database to the schema of this program, and of living with a newer one.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

import made_up_migrations
import store_rows as rows
from conductor_loop.errors import CorruptStoreError, IncompatibleStoreError, StoreError
from conductor_loop.model import Sample
from conductor_loop.store import backup, migrate, queries
from conductor_loop.store.database import Store
from conductor_loop.store.schema import schema
from conductor_loop.store.tables import HEAD_REVISION, SCHEMA_VERSION
from conductor_loop.store.upgrade import plan_upgrade, upgrade
from conductor_loop.store.writer import Writer

MEND = """
    op.create_index("ix_files_finished_at", "files", ["finished_at"])
    op.add_column("samples", sa.Column("disk_free", sa.Text(), nullable=False, server_default="{}"))
    op.execute("UPDATE meta SET schema_version = 2")
"""


@pytest.fixture
def old(tmp_path: Path) -> Store:
    """
    A store as a made-up revision 0000 left it: an index and a column short, with rows.
    """
    with closing(Store.open(tmp_path, now=rows.NOW)) as store:
        store.writer.commit(rows.whole_life(1, 2, 3))
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.executescript("""
            DROP INDEX ix_files_finished_at;
            DROP TABLE samples;
            CREATE TABLE samples (taken_at INTEGER PRIMARY KEY, memory_bytes BIGINT, threads INTEGER, fds INTEGER,
                cpu_permille INTEGER, directory_bytes BIGINT);
            UPDATE alembic_version SET version_num = '0000';
            UPDATE meta SET schema_version = 0, min_compatible_version = 0;
        """)
    return store


def newer(tmp_path: Path, *, min_compatible: int) -> Store:
    """
    Return a closed store that a made-up next version has upgraded.
    """
    with closing(Store.open(tmp_path, now=rows.NOW)) as store:
        store.writer.commit(rows.whole_life(1))
    migrate.migrate(store.path, made_up_migrations.future(tmp_path / "next", min_compatible=min_compatible))
    return store


def version_of(path: Path) -> tuple[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT version_num, schema_version FROM alembic_version, meta"
        found: tuple[str, int] = connection.execute(query).fetchone()
        return found


def test_older_store_is_copied_and_upgraded_when_it_is_opened(old: Store, tmp_path: Path) -> None:
    """
    The program meets the schema that it knows, the rows are there, and so is the way back.
    """
    with (
        closing(
            Store.open(tmp_path, now=rows.NOW, scripts=made_up_migrations.past(tmp_path / "m", MEND))
        ) as store,
        store.reader() as connection,
    ):
        assert store.store_id == old.store_id
        assert store.set_aside is None
        assert queries.highest_number(connection) == 3
        changes = rows.whole_life(4)
        changes.samples.append(Sample(taken_at=1, disk_free={"/": 1}))
        store.writer.commit(changes)

    assert version_of(store.path) == ("0002", 2)
    (copy,) = (tmp_path / "backups").iterdir()
    assert copy.name.startswith("history-0-")
    assert version_of(copy) == ("0000", 0)
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM files").fetchone() == (3,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


@pytest.mark.parametrize("revision", ["0001"])
def test_store_of_an_earlier_release_is_upgraded_with_its_rows(tmp_path: Path, revision: str) -> None:
    """
    Through the program's own migrations, and to the same tables and indexes as a new store.
    """
    path = tmp_path / "history.db"
    migrate.migrate(path, made_up_migrations.until(revision, tmp_path / "then"))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO meta VALUES (1, 'then', ?, ?, 1)", [rows.NOW, int(revision)])
    with closing(Writer(path)) as writer:
        writer.commit(rows.whole_life(1, 2))

    with closing(Store.open(tmp_path, now=rows.NOW)) as store, store.reader() as connection:
        assert store.store_id == "then"
        assert queries.highest_number(connection) == 2
    assert version_of(path) == (HEAD_REVISION, SCHEMA_VERSION)
    (tmp_path / "new").mkdir()
    with closing(Store.open(tmp_path / "new", now=rows.NOW)) as new:
        assert indexes(path) == indexes(new.path)


def indexes(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}


def test_upgrade_command_says_what_it_did(old: Store, tmp_path: Path) -> None:
    """
    From, to and the copy; the second time there is nothing to do.
    """
    scripts = made_up_migrations.past(tmp_path / "m", MEND)
    before = schema(tmp_path)

    planned = plan_upgrade(tmp_path)
    assert not (tmp_path / "backups").exists()
    first = upgrade(tmp_path, scripts=scripts)
    second = upgrade(tmp_path, scripts=scripts)

    assert (before.revision, before.schema_version, before.head, before.behind) == ("0000", 0, "0002", True)
    assert (first.from_revision, first.to_revision) == ("0000", "0002")
    assert first.backup is not None
    assert first.backup.is_file()
    assert planned[:2] == first[:2]
    assert planned.backup is not None
    assert planned.backup.parent == first.backup.parent
    assert planned.backup_bytes == old.path.stat().st_size
    assert first.backup_bytes == first.backup.stat().st_size
    assert plan_upgrade(tmp_path) == second
    assert second == ("0002", "0002", None, 0)
    assert not schema(tmp_path).behind


def test_failed_migration_changes_nothing_and_says_why(old: Store, tmp_path: Path) -> None:
    """
    Tables made before the failure are gone with it.
    """
    body = MEND + '    op.execute("INSERT INTO missing VALUES (1)")\n'
    scripts = made_up_migrations.past(tmp_path / "m", body)

    with pytest.raises(
        StoreError, match=r"the upgrade failed, the database is as it was: .*no such table: missing"
    ):
        upgrade(tmp_path, scripts=scripts)

    assert version_of(old.path) == ("0000", 0)
    with closing(sqlite3.connect(old.path)) as connection:
        query = "SELECT count(*) FROM sqlite_master WHERE name = 'ix_files_finished_at'"
        assert connection.execute(query).fetchone() == (0,)


def test_unknown_revision_is_said(old: Store, tmp_path: Path) -> None:
    """
    A revision of which nobody has a migration cannot be upgraded.
    """
    with pytest.raises(StoreError, match="Can't locate revision identified by '0000'"):
        upgrade(tmp_path)


def test_upgrade_is_refused_without_room_for_the_copy(
    old: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Without the way back there is no way forward.
    """
    monkeypatch.setattr(backup, "_SPARE_BYTES", 1 << 60)

    with pytest.raises(StoreError, match=r"backups: no room for a copy .* bytes needed, \d+ bytes free"):
        upgrade(tmp_path)

    assert os.listdir(tmp_path / "backups") == []
    assert version_of(old.path) == ("0000", 0)


def test_upgrade_is_refused_where_the_copy_cannot_be_written(old: Store, tmp_path: Path) -> None:
    """
    Something else is called backups.
    """
    (tmp_path / "backups").touch()

    with pytest.raises(StoreError, match=r"history-0-.*\.db: the copy failed: Not a directory"):
        upgrade(tmp_path)

    assert version_of(old.path) == ("0000", 0)


def test_damaged_store_is_not_upgraded(old: Store, tmp_path: Path) -> None:
    """
    The copy is checked before anything is changed, so damage is not carried on.
    """
    with closing(sqlite3.connect(old.path)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_attempts_1'"
        page = connection.execute(query).fetchone()[0]
    with old.path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))

    with pytest.raises(CorruptStoreError, match="damaged"):
        upgrade(tmp_path)

    assert os.listdir(tmp_path / "backups") == []


def test_migrations_run_where_the_current_directory_has_a_module_of_that_name(
    old: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The agent may be started anywhere.
    """
    for name in ("alembic", "sqlalchemy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)

    done = upgrade(Path(), scripts=made_up_migrations.past(tmp_path / "m", MEND))

    assert done.to_revision == "0002"


def test_newer_compatible_store_is_read_and_written(tmp_path: Path) -> None:
    """
    One version back always runs: what it does not know does not disturb it, and it does not undo the upgrade.
    """
    made = newer(tmp_path, min_compatible=1)

    with closing(Store.open(tmp_path, now=rows.NOW)) as store, store.reader() as connection:
        assert store.store_id == made.store_id
        changes = rows.whole_life(2)
        changes.claims.append(rows.claim(3))
        changes.waits.append(rows.wait(3))
        changes.samples.append(Sample(taken_at=1))
        changes.pauses["operator"] = (1, "")
        store.writer.commit(changes)
    with store.reader() as connection:
        assert [row.number for row in queries.open_files(connection)] == [3]
        assert queries.file(connection, 2) is not None
        assert len(queries.attempts(connection, 2)) == 1
        assert queries.totals(connection) == {("files_processed", ""): 1}
        assert queries.pauses(connection) == {"operator": (1, "")}
        assert len(queries.recent_durations(connection)) == 2

    assert upgrade(tmp_path) == ("0003", "0003", None, 0)
    assert version_of(store.path) == ("0003", 3)


def test_newer_incompatible_store_is_refused_with_clear_words(tmp_path: Path) -> None:
    """
    Exit code 78; the message says which schema, which program and what to do. Nothing is touched.
    """
    made = newer(tmp_path, min_compatible=3)
    before = made.path.read_bytes()

    with pytest.raises(
        IncompatibleStoreError, match=r"schema 3, which takes a program of schema 3 or later"
    ) as caught:
        Store.open(tmp_path, now=rows.NOW)
    with pytest.raises(IncompatibleStoreError):
        upgrade(tmp_path)

    assert caught.value.exit_code == 78
    assert "Install the newer version again" in str(caught.value)
    assert made.path.read_bytes() == before


def test_schema_of_no_store_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    """
    `db current` before the first start.
    """
    with pytest.raises(StoreError, match=r"history\.db: no such database; the agent makes it"):
        schema(tmp_path)

    assert os.listdir(tmp_path) == []


@pytest.mark.root
def test_schema_that_may_not_be_read_is_an_error_that_says_so() -> None:
    """
    `db current` of a user who may not look into the state directory.
    """
    with tempfile.TemporaryDirectory(prefix="conductor-loop-test-") as folder:
        Store.open(Path(folder), now=rows.NOW).close()
        os.seteuid(65534)
        try:
            with pytest.raises(PermissionError, match=r"history\.db"):
                schema(Path(folder))
        finally:
            os.seteuid(0)


def test_schema_tells_what_db_current_shows(tmp_path: Path) -> None:
    """
    While the agent runs as well as without it.
    """
    with closing(Store.open(tmp_path, now=rows.NOW)) as store:
        running = schema(tmp_path)

    assert running == schema(tmp_path)
    assert (running.revision, running.head, running.store_id) == ("0002", "0002", store.store_id)
    assert running.sqlite_version == sqlite3.sqlite_version


def test_migration_process_reports_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The parent puts that line into its own message.
    """
    with pytest.raises(Exception, match="Path doesn't exist"):
        migrate.main([str(tmp_path / "x.db"), str(tmp_path / "nowhere")])

    assert len(capsys.readouterr().out.splitlines()) == 1
