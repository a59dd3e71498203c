"""
A copy that is put in the place of its database.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import made_up_migrations
import store_rows as rows
from conductor_loop import clock
from conductor_loop.store import inspection, migrate, queries
from conductor_loop.store.backup import back_up
from conductor_loop.store.changes import Changes
from conductor_loop.store.database import Store
from conductor_loop.store.schema import schema
from conductor_loop.store.writer import Writer

COPIED_AT = 1_795_419_798_000_000  #: 2026-11-23T07:43:18Z
LAST = 3  #: number that the copy knows of
CLAIMED = ("claimed", "")


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    A copy of a database with three files.
    """
    monkeypatch.setattr(clock, "now_us", lambda: COPIED_AT)
    state = tmp_path / "before"
    state.mkdir()
    with closing(Store.open(state, now=rows.NOW)) as store:
        store.writer.commit(rows.whole_life(*range(1, LAST + 1)))
        store.writer.commit(Changes(totals={CLAIMED: LAST}))
        return back_up(schema(state), tmp_path / "copy.db")


def put_back(copy: Path, folder: Path, *, after_seconds: float) -> Store:
    """
    Open a copy as a store, so many seconds after it was made.
    """
    folder.mkdir(exist_ok=True)
    shutil.copy(copy, folder / "history.db")
    with closing(Store.open(folder, now=COPIED_AT + round(after_seconds * clock.SECOND))) as store:
        return store


def last_number(store: Store) -> int:
    with store.reader() as connection:
        return queries.last_number(connection)


def signs(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT value FROM totals WHERE metric = 'copied'")]


def test_copy_says_when_it_was_made_and_its_original_does_not(copy: Path, tmp_path: Path) -> None:
    """
    The database that goes on in its place is none.
    """
    assert signs(copy) == [COPIED_AT]
    assert signs(tmp_path / "before" / "history.db") == []


def test_ids_go_on_beyond_all_that_can_have_been_given_out(
    copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Which is said in the log and to who opened it.
    """
    with caplog.at_level(logging.WARNING):
        store = put_back(copy, tmp_path / "after", after_seconds=3600)

    assert store.put_back is not None
    assert last_number(store) == LAST + 1_000_000 + 3600 * 10_000
    assert store.put_back.describe() == (
        "the database was put back from a copy of 2026-11-23T07:43:18Z; files since then are not in it; "
        "ids go on at 37000004"
    )
    assert store.put_back.describe() in caplog.text


def test_copy_is_put_to_use_once(copy: Path, tmp_path: Path) -> None:
    """
    The start after that goes on where the first one ended.
    """
    first = put_back(copy, tmp_path / "after", after_seconds=1)
    before = last_number(first)
    with closing(Store.open(tmp_path / "after", now=COPIED_AT + 3600 * clock.SECOND)) as store:
        assert store.put_back is None
        assert last_number(store) == before
    assert signs(store.path) == []


def test_copy_put_back_twice_gives_out_no_number_of_the_first_time(copy: Path, tmp_path: Path) -> None:
    """
    Even if that is a moment later: in it no agent claims as many files.
    """
    first = put_back(copy, tmp_path / "first", after_seconds=1)
    second = put_back(copy, tmp_path / "second", after_seconds=1.5)

    assert last_number(second) - last_number(first) == 5_000


def test_clock_that_was_set_back_does_not_bring_numbers_back(copy: Path, tmp_path: Path) -> None:
    """
    A million is left out whatever it says.
    """
    assert last_number(put_back(copy, tmp_path / "after", after_seconds=-86_400)) == LAST + 1_000_000


def test_copy_of_a_copy_keeps_the_earlier_moment(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Since then nobody knows what was given out.
    """
    (tmp_path / "again").mkdir()
    shutil.copy(copy, tmp_path / "again" / "history.db")
    monkeypatch.setattr(clock, "now_us", lambda: COPIED_AT + 1)

    assert signs(back_up(schema(tmp_path / "again"), tmp_path / "copy-of-copy.db")) == [COPIED_AT]


def test_copy_made_before_an_upgrade_is_one_as_well(tmp_path: Path) -> None:
    """
    It is put back together with the version of before, or brought up to date again.
    """
    path = tmp_path / "history.db"
    migrate.migrate(path, made_up_migrations.until("0001", tmp_path / "then"))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO meta VALUES (1, 'then', ?, 1, 1)", [rows.NOW])
    with closing(Writer(path)) as writer:
        writer.commit(rows.whole_life(1, 2))
    Store.open(tmp_path, now=rows.NOW).close()
    (before,) = (tmp_path / "backups").iterdir()
    assert signs(path) == []

    store = put_back(before, tmp_path / "after", after_seconds=0)

    assert store.put_back is not None
    assert last_number(store) >= 1_000_002


def test_next_id_is_that_after_the_numbers_left_out(copy: Path, tmp_path: Path) -> None:
    """
    Before the copy is put to use and after that.
    """
    folder = tmp_path / "after"
    folder.mkdir()
    shutil.copy(copy, folder / "history.db")
    expected = inspection.next_id(folder, 5)
    with closing(Store.open(folder, now=clock.now_us())) as store:
        pass

    assert expected == f"{store.store_id}-{LAST + 1_000_001}" == inspection.next_id(folder, 5)
