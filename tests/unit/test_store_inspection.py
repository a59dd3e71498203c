"""
Looking at a database without a trace.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

import store_rows as rows
from conductor_loop.errors import StoreError
from conductor_loop.store import engine, inspection, queries
from conductor_loop.store.database import Store
from conductor_loop.store.schema import schema
from conductor_loop.store.view import View
from untouched import picture
from waiting import wait_until

TESTS = Path(__file__).parents[1]
KILLED = f"""
import sys, os, signal
sys.path[:0] = [{str(TESTS)!r}, {str(TESTS.parent / "agent")!r}]
from pathlib import Path
import store_rows as rows
from conductor_loop.store.database import Store
store = Store.open(Path(sys.argv[1]), now=rows.NOW)
changes = rows.whole_life(1, 2)
changes.claims.append(rows.claim(3))
store.writer.commit(changes)
os.kill(os.getpid(), signal.SIGKILL)
"""


RESTARTING = f"""
import sys
sys.path[:0] = [{str(TESTS)!r}, {str(TESTS.parent / "agent")!r}]
from contextlib import closing
from itertools import count
from pathlib import Path
import store_rows as rows
from conductor_loop.store.database import Store
for number in count(4):
    with closing(Store.open(Path(sys.argv[1]), now=rows.NOW)) as store:
        store.writer.commit(rows.whole_life(number))
"""


def make(folder: Path) -> Path:
    """
    Make a database with three files, one of them open, and close it as an agent that ends well does.
    """
    with closing(Store.open(folder, now=rows.NOW)) as store:
        changes = rows.whole_life(1, 2)
        changes.claims.append(rows.claim(3))
        store.writer.commit(changes)
    return store.path


def make_killed(folder: Path) -> Path:
    """
    Make the same one and leave it as an agent does that is killed: the rows are only in the log.
    """
    done = subprocess.run([sys.executable, "-c", KILLED, folder], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (folder / "history.db-wal").stat().st_size > 0
    return folder / "history.db"


@pytest.mark.parametrize("maker", [make, make_killed])
def test_it_is_read_and_nothing_is_touched(tmp_path: Path, maker: object) -> None:
    """
    Whether an agent ended well or was killed: neither log nor index are made, removed or written.
    """
    path = maker(tmp_path)  # type: ignore[operator]
    before = picture(tmp_path)

    found = inspection.contents(tmp_path, 5)
    damages = inspection.damages(path, full=True)

    assert found.rows is not None
    assert [row.number for row in found.rows] == [3]
    assert found.highest_number == 3
    assert inspection.next_id(tmp_path, 5) == f"{found.schema.store_id}-4"
    assert damages == []
    assert picture(tmp_path) == before


def test_log_without_an_index_is_left_alone(tmp_path: Path) -> None:
    """
    Somebody has copied the files; SQLite would have to make one.
    """
    path = make_killed(tmp_path)
    (tmp_path / "history.db-shm").unlink()
    before = picture(tmp_path)

    with pytest.raises(StoreError, match="its write-ahead log has no index"):
        inspection.contents(tmp_path, 5)
    with pytest.raises(StoreError):
        inspection.damages(path)

    assert picture(tmp_path) == before


def test_index_without_a_log_is_no_obstacle(tmp_path: Path) -> None:
    """
    Nothing is in a log that is not there.
    """
    make(tmp_path)
    (tmp_path / "history.db-shm").touch()
    before = picture(tmp_path)

    assert inspection.contents(tmp_path, 5).highest_number == 3
    assert picture(tmp_path) == before


def test_it_is_read_beside_a_busy_writer(tmp_path: Path) -> None:
    """
    Every look succeeds and is of one moment, and no commit is refused.
    """
    stop = threading.Event()

    with closing(Store.open(tmp_path, now=rows.NOW)) as store:

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                store.writer.commit(rows.whole_life(number))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            highest = [inspection.contents(tmp_path, 5).highest_number for _ in range(50)]
            damages = inspection.damages(store.path)
        finally:
            stop.set()
            writer.join()

    assert damages == []
    assert highest == sorted(highest)
    assert highest[-1] > 0


def test_agent_may_stop_between_the_look_and_the_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It takes log and index away, which were to be read.
    """
    store = Store.open(tmp_path, now=rows.NOW)
    store.writer.commit(rows.whole_life(1))
    with before_opening(monkeypatch, store.close):
        assert inspection.contents(tmp_path, 5).highest_number == 1


def test_agent_that_stops_removes_the_index_before_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What is seen in between is not taken for good.
    """
    make_killed(tmp_path)
    index, away = tmp_path / "history.db-shm", tmp_path / "away"
    index.rename(away)
    monkeypatch.setattr(inspection, "_UNSETTLED_SECONDS", 20)
    timer = threading.Timer(0.1, away.rename, [index])
    timer.start()
    try:
        assert inspection.contents(tmp_path, 5).highest_number == 3
    finally:
        timer.join()


@pytest.mark.slow
def test_it_is_read_beside_agents_that_start_and_stop(tmp_path: Path) -> None:
    """
    Whatever a look meets: no log yet, a log without an index, neither any more.
    """
    make(tmp_path)
    with subprocess.Popen([sys.executable, "-c", RESTARTING, tmp_path]) as agents:
        try:
            wait_until(lambda: inspection.contents(tmp_path, 5).highest_number > 3, timeout=30)
            ends_at = time.monotonic() + 4
            highest = []
            while time.monotonic() < ends_at:
                highest.append(inspection.contents(tmp_path, 5).highest_number)
                with View(tmp_path).reader() as connection:
                    highest.append(queries.highest_number(connection))
        finally:
            agents.kill()

    assert highest == sorted(highest)
    assert highest[-1] > highest[0]


@contextmanager
def before_opening(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> Iterator[None]:
    """
    Have something happen once, when it is known how the database is to be opened, and before it is.
    """
    choose, acts = engine._traceless, [act]

    def choose_and_act(path: Path) -> str:
        mode = choose(path)
        if acts:
            acts.pop()()
        return mode

    monkeypatch.setattr(engine, "_traceless", choose_and_act)
    yield
    assert not acts


def test_database_of_an_older_program_is_recognised_by_its_schema_alone(tmp_path: Path) -> None:
    """
    Its tables may lack columns that the questions name.
    """
    path = make(tmp_path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
        connection.execute("UPDATE meta SET schema_version = 0")
        connection.execute("ALTER TABLE files DROP COLUMN sha256")

    found = inspection.contents(tmp_path, 5)

    assert found.schema.behind
    assert found.rows is None


def test_missing_database(tmp_path: Path) -> None:
    """
    With its path and who makes it; it is not made.
    """
    with pytest.raises(StoreError, match=r"history\.db: no such database; the agent makes it"):
        inspection.contents(tmp_path, 5)

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("ask", [schema, View, partial(inspection.contents, deadline_seconds=5)])
def test_empty_file_is_no_database_yet(tmp_path: Path, ask: Callable[[Path], object]) -> None:
    """
    As it is for the agent, which replaces it when it starts.
    """
    (tmp_path / "history.db").touch()

    with pytest.raises(StoreError, match=r"history\.db: no such database; the agent makes it"):
        ask(tmp_path)

    assert os.listdir(tmp_path) == ["history.db"]


def test_damage_is_listed(tmp_path: Path) -> None:
    """
    A page overwritten in the middle, and a beginning that is no database's.
    """
    path = make(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_attempts_1'"
        page = connection.execute(query).fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))
    middle = inspection.damages(path)
    path.write_bytes(b"this is no database" * 1000)

    assert middle
    beginning = inspection.damages(path)
    assert beginning is not None
    assert len(beginning) == 1
    assert "not a database" in beginning[0]


def test_difference_between_table_and_index_is_found_by_the_full_check_alone(tmp_path: Path) -> None:
    """
    The quick one is five times as quick for leaving that out.
    """
    path = make(tmp_path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, '(finished_at)', '(claimed_at)')"
            " WHERE name = 'ix_files_finished_at'"
        )

    assert inspection.damages(path) == []
    assert inspection.damages(path, full=True) != []


def test_check_that_takes_too_long_does_not_tell(tmp_path: Path) -> None:
    """
    Neither sound nor damaged.
    """
    with closing(Store.open(tmp_path, now=rows.NOW)) as store:
        store.writer.commit(rows.whole_life(*range(1, 3000)))

    assert inspection.damages(store.path, deadline_seconds=0.0) is None


def test_check_can_be_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Ctrl-C reaches SQLite's callback first, which lets no exception through.
    """
    with closing(Store.open(tmp_path, now=rows.NOW)) as store:
        store.writer.commit(rows.whole_life(*range(1, 3000)))
    monkeypatch.setattr(engine, "_PROGRESS_STEPS", 1)
    begun = time.monotonic()
    assert inspection.damages(store.path) == []
    seconds = time.monotonic() - begun

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds / 4)
        with pytest.raises(KeyboardInterrupt):
            inspection.damages(store.path)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
