"""
Tests of opening, reading, checking and setting aside the store.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

import store_rows as rows
from conductor_loop import clock
from conductor_loop.errors import StoreError
from conductor_loop.store import engine, queries, tables
from conductor_loop.store.database import Store
from conductor_loop.store.failures import QueryTimeoutError

ENDLESS = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(tmp_path, now=rows.NOW)) as opened:
        yield opened


@pytest.fixture
def closed(tmp_path: Path) -> Store:
    """
    A store with a few hundred rows, closed.
    """
    with closing(Store.open(tmp_path, now=rows.NOW)) as opened:
        opened.writer.commit(rows.whole_life(*range(1, 400)))
    return opened


def test_new_store_is_complete_and_has_a_random_id(tmp_path: Path) -> None:
    """
    Two stores must never give the same id to two files.
    """
    ids = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with closing(Store.open(tmp_path / name, now=rows.NOW)) as store:
            ids.add(store.store_id)
            assert re.fullmatch("[0-9a-f]{10}", store.store_id)
            assert store.path == tmp_path / name / "history.db"
            assert store.sqlite_version == sqlite3.sqlite_version
            assert store.set_aside is None
        assert os.listdir(tmp_path / name) == ["history.db"]
        assert store.path.stat().st_mode & 0o007 == 0

    assert len(ids) == 2


def test_store_is_the_same_after_opening_again(closed: Store, tmp_path: Path) -> None:
    """
    Id and rows stay.
    """
    with closing(Store.open(tmp_path, now=rows.NOW + 1)) as again, again.reader() as connection:
        assert again.store_id == closed.store_id
        assert again.set_aside is None
        assert queries.highest_number(connection) == 399


def test_new_database_can_shrink(store: Store) -> None:
    """
    The vacuum mode can only be chosen before the first table is made, and SQLite ignores it silently afterwards.
    """
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_empty_file_and_an_unfinished_one_are_replaced(tmp_path: Path) -> None:
    """
    Neither a `touch` nor a crash while the database was made is in the way.
    """
    (tmp_path / "history.db").touch()
    (tmp_path / "history.db.new").write_bytes(b"half")

    with closing(Store.open(tmp_path, now=rows.NOW)) as store:
        store.writer.commit(rows.whole_life(1))
        assert store.set_aside is None

    assert os.listdir(tmp_path) == ["history.db"]


def test_log_without_its_database_does_not_get_into_the_new_one(tmp_path: Path) -> None:
    """
    SQLite would write a log that it finds into whatever database has its name.
    """
    with closing(Store.open(tmp_path, now=rows.NOW)) as store:
        store.writer.commit(rows.whole_life(*range(1, 100)))
        log = (tmp_path / "history.db-wal").read_bytes()
    store.path.unlink()
    (tmp_path / "history.db-wal").write_bytes(log)

    with closing(Store.open(tmp_path, now=rows.NOW)) as new, new.reader() as connection:
        assert queries.highest_number(connection) == 0
        assert new.store_id != store.store_id
        assert new.quick_check(5.0) == []

    assert [name for name in os.listdir(tmp_path) if "corrupt" in name] == [
        f"history.db.corrupt-{clock.compact(rows.NOW)}-wal"
    ]


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def text_file(path: Path) -> None:
    path.write_text("hello\n")


def zero_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(100))


def half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def stump(path: Path) -> None:
    os.truncate(path, 60)


def zero_pages(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(path.stat().st_size - 4096))


@pytest.mark.parametrize("damage", [garbage, text_file, zero_header, half, stump, zero_pages])
def test_damaged_store_is_set_aside_and_a_new_one_begun(
    closed: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    """
    The work goes on, nothing is deleted, ids are never used again, and it is said.
    """
    damage(closed.path)
    damaged = closed.path.read_bytes()

    with (
        caplog.at_level(logging.ERROR),
        closing(Store.open(tmp_path, now=rows.NOW)) as store,
        store.reader() as connection,
    ):
        assert queries.highest_number(connection) == 0
        assert store.store_id != closed.store_id
        store.writer.commit(rows.whole_life(1))

    assert store.set_aside is not None
    assert store.set_aside.name == f"history.db.corrupt-{clock.compact(rows.NOW)}"
    assert store.set_aside.read_bytes() == damaged
    assert str(store.set_aside) in caplog.text


def test_marked_store_is_set_aside_once(
    closed: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What was found damaged while in use is set aside at the next start, and only then.
    """
    closed.mark_corrupt("row 5 missing from index \udcff")

    with closing(Store.open(tmp_path, now=rows.NOW)) as store:
        assert store.set_aside is not None
    with closing(Store.open(tmp_path, now=rows.NOW)) as again:
        assert again.set_aside is None
        assert again.store_id == store.store_id
    assert caplog.text.count("was found damaged while in use: row 5 missing from index \\udcff") == 1


def test_two_damaged_stores_of_one_second_are_both_kept(closed: Store, tmp_path: Path) -> None:
    """
    Setting aside never overwrites.
    """
    kept = set()
    for _ in range(3):
        garbage(closed.path)
        with closing(Store.open(tmp_path, now=rows.NOW)) as store:
            assert store.set_aside is not None
            kept.add(store.set_aside)

    assert len(kept) == 3
    assert all(path.exists() for path in kept)


def test_database_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """
    A sound database that is not ours is neither written nor moved.
    """
    path = tmp_path / "history.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE songs (title TEXT)")

    with pytest.raises(StoreError, match=r"history\.db: a database, but not one of conductor-loop"):
        Store.open(tmp_path, now=rows.NOW)

    assert "history.db" in os.listdir(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("songs",)]


def test_missing_directory_is_named(tmp_path: Path) -> None:
    """
    The message says which setting to change.
    """
    with pytest.raises(StoreError, match=r"nowhere: no such directory; make it, or set agent\.state_dir"):
        Store.open(tmp_path / "nowhere", now=rows.NOW)


@pytest.mark.root
@pytest.mark.parametrize(("directory_mode", "file_mode"), [(0o555, 0o644), (0o700, 0o600), (0o777, 0o444)])
def test_user_without_permission_is_told(directory_mode: int, file_mode: int) -> None:
    """
    An agent of another user that may not write says so, and changes nothing.
    """
    folder = Path(tempfile.mkdtemp(prefix="conductor-loop-test-"))
    try:
        with closing(Store.open(folder, now=rows.NOW)) as store:
            pass
        before = store.path.read_bytes()
        store.path.chmod(file_mode)
        folder.chmod(directory_mode)
        os.seteuid(65534)
        try:
            with pytest.raises(StoreError, match=r"must be allowed to|no permission"):
                Store.open(folder, now=rows.NOW)
        finally:
            os.seteuid(0)
        assert store.path.read_bytes() == before
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["a b?c=d&e#f%20", "ä\udcff\n", "-"])
def test_state_directory_may_be_called_anything(tmp_path: Path, name: str) -> None:
    """
    The path goes to SQLite inside a URI.
    """
    folder = tmp_path / name
    folder.mkdir()

    with closing(Store.open(folder, now=rows.NOW)) as store:
        store.writer.commit(rows.whole_life(1))
        with store.reader() as connection:
            assert queries.highest_number(connection) == 1

    assert os.listdir(tmp_path) == [name]
    assert os.listdir(folder) == ["history.db"]
    assert store.path.stat().st_size > 0


def test_agent_does_not_import_alembic() -> None:
    """
    It takes more memory than everything else of the store.
    """
    code = "import sys, conductor_loop.store.database; sys.exit('alembic' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_reader_is_cut_off_at_its_deadline(store: Store) -> None:
    """
    A heavy question of somebody at a browser ends; the store is well.
    """
    began = time.monotonic()

    with (
        pytest.raises(QueryTimeoutError, match="took too long"),
        store.reader(deadline_seconds=0.2) as connection,
    ):
        connection.execute(ENDLESS).all()

    assert 0.15 < time.monotonic() - began < 2.0
    with store.reader() as connection:
        assert queries.highest_number(connection) == 0


def test_reader_cannot_write(store: Store) -> None:
    """
    Only the ledger's thread changes history.
    """
    with pytest.raises(StoreError, match="cannot be written"), store.reader() as connection:
        connection.execute(tables.totals.insert().values(metric="m", label="", value=1))

    with store.reader() as connection:
        assert queries.totals(connection) == {}


def test_reader_never_checkpoints(store: Store) -> None:
    """
    A second connection that checkpoints is what SQLite's log-reset bug needs.
    """
    with store.reader() as connection:
        driver = connection.connection.cursor()
        assert driver.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
        assert driver.execute("PRAGMA query_only").fetchone() == (1,)


def test_readers_see_the_last_commit_from_any_thread(store: Store) -> None:
    """
    A reader sees one moment: what was committed when it began.
    """
    seen: list[int] = []
    store.writer.commit(rows.whole_life(1))

    def read() -> None:
        with store.reader() as connection:
            seen.append(queries.highest_number(connection))
            store.writer.commit(rows.whole_life(2))
            seen.append(queries.highest_number(connection))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()

    with store.reader() as connection:
        assert [*seen, queries.highest_number(connection)] == [1, 1, 2]


def test_readers_leave_no_descriptor_behind(store: Store) -> None:
    """
    A year of scrapes opens a few million of them.
    """
    with store.reader():
        pass
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(30):
        with store.reader() as connection:
            queries.totals(connection)

    assert len(os.listdir("/proc/self/fd")) == before


def test_quick_check_of_a_sound_store_finds_nothing(store: Store) -> None:
    """
    An empty list is good news.
    """
    store.writer.commit(rows.whole_life(1, 2, 3))

    assert store.quick_check(5.0) == []


def test_quick_check_tells_damage_that_opening_did_not_meet(closed: Store, tmp_path: Path) -> None:
    """
    Old rows are not read at the start; their damage shows in the background.
    """
    with closing(sqlite3.connect(closed.path)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'ix_files_finished_at'"
        page = connection.execute(query).fetchone()[0]
    with closed.path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))

    with closing(Store.open(tmp_path, now=rows.NOW)) as store:
        assert store.set_aside is None
        assert store.quick_check(5.0)


def test_quick_check_that_has_no_time_tells_nothing(closed: Store, tmp_path: Path) -> None:
    """
    Not to know is not the same as damaged.
    """
    with closing(Store.open(tmp_path, now=rows.NOW)) as store:
        store.writer.commit(rows.whole_life(*range(1000, 4000)))

        assert store.quick_check(0.0) is None


def test_size_counts_the_database_and_its_log(store: Store) -> None:
    """
    What is in the log is on the disk as well.
    """
    store.writer.commit(rows.whole_life(*range(1, 100)))

    log = (store.path.parent / "history.db-wal").stat().st_size
    assert log > 0
    assert store.size_bytes() == store.path.stat().st_size + log
    assert engine.file_size(store.path.with_name("nothing")) == 0
