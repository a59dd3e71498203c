"""
Copies of a database.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import store_rows as rows
from conductor_loop.errors import ConflictError, CorruptStoreError, NotFoundError, StoreError
from conductor_loop.store import backup
from conductor_loop.store.backup import back_up, plan
from conductor_loop.store.database import Store
from conductor_loop.store.schema import schema


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
def store(state: Path) -> Iterator[Store]:
    with closing(Store.open(state, now=rows.NOW)) as one:
        one.writer.commit(rows.whole_life(1, 2, 3))
        yield one


def numbers(path: Path) -> list[int]:
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM files ORDER BY number")]


def damage(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_attempts_1'"
        page = connection.execute(query).fetchone()[0]
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))


def test_copy_has_what_is_committed_and_is_one_file(store: Store, state: Path) -> None:
    """
    Of a database whose latest rows are only in its log; for nobody but owner and group, for outputs may hold secrets.
    """
    copy = back_up(schema(state))

    assert numbers(copy) == [1, 2, 3]
    assert os.listdir(copy.parent) == [copy.name]
    assert copy.parent == state / "backups"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o640


def test_copy_goes_where_it_is_sent(store: Store, state: Path, tmp_path: Path) -> None:
    """
    And nothing is made in the folder backups.
    """
    assert back_up(schema(state), tmp_path / "mine.db") == tmp_path / "mine.db"
    assert numbers(tmp_path / "mine.db") == [1, 2, 3]
    assert not (state / "backups").exists()


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_nothing_is_overwritten(store: Store, state: Path, tmp_path: Path, make: object) -> None:
    """
    Whatever has the name; exit code 1.
    """
    target = tmp_path / "mine.db"
    make(target)  # type: ignore[operator]

    with pytest.raises(ConflictError, match=r"mine\.db: is there already") as refused:
        back_up(schema(state), target)

    assert refused.value.exit_code == 1
    assert set(os.listdir(tmp_path)) == {"state", "mine.db"}


def test_name_taken_meanwhile_is_not_overwritten(
    store: Store, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The copy takes minutes, and somebody may have been faster.
    """
    target = tmp_path / "mine.db"
    copy = backup._copy

    def slowly(source: Path, partial: Path) -> None:
        copy(source, partial)
        target.write_text("theirs")

    monkeypatch.setattr(backup, "_copy", slowly)

    with pytest.raises(ConflictError):
        back_up(schema(state), target)

    assert target.read_text() == "theirs"
    assert set(os.listdir(tmp_path)) == {"state", "mine.db"}


def test_two_copies_of_one_second_are_two(store: Store, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The second has a number in its name.
    """
    monkeypatch.setattr(backup.clock, "now_us", lambda: rows.NOW)

    names = [back_up(schema(state)).name for _ in range(3)]

    stem = names[0].removesuffix(".db")
    assert names[1:] == [f"{stem}-2.db", f"{stem}-3.db"]


def test_no_room_is_said_before_anything_is_copied(
    store: Store, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With what is needed and what is free; the plan says the same.
    """
    monkeypatch.setattr(backup, "_SPARE_BYTES", 1 << 60)

    for attempt in (back_up, plan):
        with pytest.raises(StoreError, match=r"no room for a copy .* \d+ bytes needed, \d+ bytes free"):
            attempt(schema(state))

    assert os.listdir(state / "backups") == []


def test_no_such_directory(store: Store, state: Path, tmp_path: Path) -> None:
    """
    It is not made: a slip of the pen would put the copy anywhere.
    """
    with pytest.raises(NotFoundError, match="missing: no such directory; make it first"):
        back_up(schema(state), tmp_path / "missing" / "mine.db")


def test_plan_makes_nothing(store: Store, state: Path) -> None:
    """
    Also where the folder backups is not there yet.
    """
    planned = plan(schema(state))

    assert planned.target.parent == state / "backups"
    assert not planned.target.parent.exists()
    assert planned.needed_bytes >= store.size_bytes()


def test_damaged_database_leaves_no_copy(store: Store, state: Path) -> None:
    """
    A copy that is as damaged as the original would be found out when it is needed.
    """
    store.close()
    damage(store.path)

    with pytest.raises(CorruptStoreError, match="damaged"):
        back_up(schema(state))

    assert os.listdir(state / "backups") == []


def test_failure_leaves_no_partial_file(store: Store, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Nor does Ctrl-C.
    """

    def fail(source: Path, partial: Path) -> None:
        partial.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(backup, "_copy", fail)

    with pytest.raises(KeyboardInterrupt):
        back_up(schema(state))

    assert os.listdir(state / "backups") == []


def test_what_a_killed_copy_left_is_removed_by_the_next(store: Store, state: Path) -> None:
    """
    One that is being made, by another process, stays: its lock says so.
    """
    folder = state / "backups"
    folder.mkdir()
    (folder / ".history-1-20260101-000000.db.partial-1").write_bytes(b"half")
    used = folder / ".history-1-20260101-000000.db.partial-2"
    (folder / ".history-of-mine").touch()

    with used.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        copy = back_up(schema(state))

    assert set(os.listdir(folder)) == {copy.name, used.name, ".history-of-mine"}


def test_copy_of_a_moment_beside_a_busy_writer(
    store: Store, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It ends, is sound, and has every row up to some number and none after it; no commit is refused.
    """
    monkeypatch.setattr(backup, "_STEP_PAGES", 2)
    stop, written = threading.Event(), [3]

    def write() -> None:
        while not stop.is_set():
            store.writer.commit(rows.whole_life(written[0] + 1))
            written[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        copies = [back_up(schema(state), state / f"{turn}.db") for turn in range(5)]
    finally:
        stop.set()
        writer.join()

    for copy in copies:
        found = numbers(copy)
        assert found == list(range(1, len(found) + 1))
    assert len(numbers(copies[-1])) > 3
    assert len(numbers(copies[-1])) <= written[0]
