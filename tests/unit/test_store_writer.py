"""
Tests of the one connection that writes.
"""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

import store_rows as rows
from conductor_loop.errors import CorruptStoreError, StoreError
from conductor_loop.model import Identity, Kind, Outcome, Sample
from conductor_loop.store import engine, queries
from conductor_loop.store.changes import Changes, IdentityRow, TargetRow
from conductor_loop.store.database import Store
from waiting import wait_until


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(tmp_path, now=rows.NOW)) as opened:
        yield opened


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def fill(path: Path) -> None:
    """
    Write until the disk is full.
    """
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def dump(store: Store) -> list[str]:
    with closing(sqlite3.connect(store.path)) as connection:
        return list(connection.iterdump())


def row_count(store: Store) -> int:
    with store.reader() as connection:
        return queries.highest_number(connection)


def test_empty_changes_are_false_and_write_nothing(store: Store) -> None:
    """
    The ledger may ask for a commit of nothing.
    """
    before = dump(store)

    store.writer.commit(Changes())

    assert not Changes()
    assert dump(store) == before


@pytest.mark.parametrize(
    "changes",
    [
        Changes(claims=[rows.claim()]),
        Changes(identities=[IdentityRow(number=1, identity=rows.claim().identity)]),
        Changes(waits=[rows.wait()]),
        Changes(attempts=[rows.attempt()]),
        Changes(interruptions=[rows.interruption()]),
        Changes(ends=[rows.end()]),
        Changes(targets=[TargetRow(number=1, target="a", status_name="b")]),
        Changes(filed=[rows.filed()]),
        Changes(totals={("files_processed", ""): 1}),
        Changes(samples=[Sample(taken_at=1)]),
        Changes(pauses={"operator": None}),
    ],
)
def test_any_change_makes_changes_true(changes: Changes) -> None:
    """
    Nothing may be forgotten because it came alone.
    """
    assert changes


def test_one_commit_takes_a_file_from_claim_to_filed(store: Store) -> None:
    """
    The rows of one commit are written in the order in which they need each other.
    """
    store.writer.commit(rows.whole_life(1, 2))

    with store.reader() as connection:
        found = queries.file(connection, 2)
        assert queries.open_files(connection) == []
        assert queries.totals(connection) == {("files_processed", ""): 2}
    assert found is not None
    assert (found.outcome, found.target, found.filed_at) == ("processed", "intent-2.json", rows.NOW + 4)


def test_same_commit_twice_is_the_same_as_once(store: Store) -> None:
    """
    After an error nobody knows whether a commit took place, so it is repeated.
    """
    changes = rows.whole_life(1, 2, 3)
    changes.claims.append(rows.claim(4))
    changes.waits.append(rows.wait(4))
    changes.interruptions.append(rows.interruption(4))
    changes.samples.append(Sample(taken_at=7, disk_free={"/": 5}))
    changes.pauses.update({"operator": (rows.NOW, "maintenance"), "drain": None})
    store.writer.commit(changes)
    once = dump(store)

    store.writer.commit(changes)

    assert dump(store) == once


def test_claim_repeated_later_does_not_undo_what_came_after_it(store: Store) -> None:
    """
    A claim whose number is there already changes nothing of the row.
    """
    store.writer.commit(rows.whole_life(1))

    store.writer.commit(Changes(claims=[rows.claim(1)]))

    with store.reader() as connection:
        found = queries.file(connection, 1)
    assert found is not None
    assert found.filed_at == rows.NOW + 4


def test_wait_is_kept_and_an_end_clears_it(store: Store) -> None:
    """
    Counters and the moment of the next attempt survive a restart; an ended file has no next attempt.
    """
    store.writer.commit(Changes(claims=[rows.claim()], waits=[rows.wait(attempts=3, interruptions=2)]))
    with store.reader() as connection:
        (waiting,) = queries.open_files(connection)

    store.writer.commit(Changes(ends=[rows.end(attempts=4)]))

    with store.reader() as connection:
        (ended,) = queries.open_files(connection)
    assert (waiting.attempts, waiting.interruptions, waiting.next_attempt_at) == (3, 2, rows.NOW + 5_000_000)
    assert (ended.attempts, ended.interruptions, ended.next_attempt_at) == (4, 2, None)


def test_another_version_and_other_names_replace_the_first_ones(store: Store) -> None:
    """
    What was found in the slot, and names taken by others meanwhile, are entered afterwards.
    """
    identity = Identity(1, 2, 3, 4, 5)
    store.writer.commit(Changes(claims=[rows.claim()], identities=[IdentityRow(number=1, identity=identity)]))

    store.writer.commit(
        Changes(
            ends=[rows.end(size=3, target="odd\n.json")],
            targets=[TargetRow(number=1, target="plain.json", status_name="plain.status")],
        )
    )

    with store.reader() as connection:
        found = queries.file(connection, 1)
    assert found is not None
    assert found.identity == identity
    assert (found.target, found.status_name) == ("plain.json", "plain.status")


@pytest.mark.parametrize("name", ["intent-\udcff.json", "intent-\n\x1b.json", r"intent-\x.json", "ä" * 120])
def test_odd_names_and_big_inodes_come_back_as_they_were(store: Store, name: str) -> None:
    """
    Recovery looks for files by these names and numbers.
    """
    identity = Identity(2**64 - 1, 2**63, 2**40, 2**62, -1)

    store.writer.commit(
        Changes(
            claims=[rows.claim(name=name, identity=identity)],
            ends=[rows.end(target=name, status_name=name + ".status", size=2**40)],
        )
    )

    with store.reader() as connection:
        (found,) = queries.open_files(connection)
    assert (found.name, found.target, found.status_name) == (name, name, name + ".status")
    assert found.identity == identity


def test_message_with_any_character_is_stored(store: Store) -> None:
    """
    What a program printed must not make the commit of its outcome fail.
    """
    message = "bad \udcff, \0 and \ud800"

    store.writer.commit(
        Changes(
            claims=[rows.claim()],
            attempts=[rows.attempt(message=message)],
            ends=[rows.end(outcome=Outcome.FAILED, kind=Kind.COMMAND_FAILED, message=message)],
            totals={("outcomes", message): 1},
            pauses={"command": (rows.NOW, message)},
        )
    )

    with store.reader() as connection:
        found = queries.file(connection, 1)
    assert found is not None
    assert found.message == "bad \\udcff, \\x00 and \\ud800"


def test_totals_are_replaced_and_pauses_end(store: Store) -> None:
    """
    Totals are absolute values; a pause that is None is over.
    """
    store.writer.commit(
        Changes(totals={("retries", ""): 1}, pauses={"operator": (1, "a"), "disk": (2, "full")})
    )

    store.writer.commit(Changes(totals={("retries", ""): 9}, pauses={"operator": (3, "b"), "disk": None}))

    with store.reader() as connection:
        assert queries.totals(connection) == {("retries", ""): 9}
        assert queries.pauses(connection) == {"operator": (3, "b")}


def test_sample_is_stored_as_whole_numbers(store: Store) -> None:
    """
    The CPU share is kept to a tenth of a percent, free space by path, whatever the path is called.
    """
    sample = Sample(taken_at=5, memory_bytes=6, threads=7, fds=8, cpu_percent=12.34, disk_free={"/\udcff": 9})

    store.writer.commit(Changes(samples=[sample]))

    with closing(sqlite3.connect(store.path)) as connection:
        found = connection.execute("SELECT * FROM samples").fetchall()
    assert found == [(5, 6, 7, 8, 123, 0, '{"/\\udcff": 9}')]


def test_writer_works_in_another_thread_than_the_opener(store: Store) -> None:
    """
    The main thread opens the store, the ledger thread writes.
    """
    thread = threading.Thread(target=store.writer.commit, args=(rows.whole_life(1),))
    thread.start()
    thread.join()

    store.writer.commit(rows.whole_life(2))

    assert row_count(store) == 2


def test_writer_has_the_pragmas_that_durability_needs(store: Store) -> None:
    """
    Read back, because SQLite ignores a pragma that it cannot obey.
    """
    names = ("journal_mode", "synchronous", "auto_vacuum", "wal_autocheckpoint", "mmap_size", "busy_timeout")
    connection = store.writer._connected()

    found = [connection.connection.cursor().execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert found == ["wal", 2, 2, 1000, 0, 2000]


def test_programming_error_passes_and_writes_nothing(store: Store) -> None:
    """
    A row that breaks a constraint is our bug: it is not hidden, and the next commit works.
    """
    wrong = rows.whole_life(1)
    wrong.pauses["disk"] = (None, "")  # type: ignore[assignment]

    with pytest.raises(IntegrityError):
        store.writer.commit(wrong)

    assert row_count(store) == 0
    store.writer.commit(rows.whole_life(2))
    assert row_count(store) == 2


@pytest.mark.slow
def test_lock_of_another_process_is_said_and_outlived(store: Store) -> None:
    """
    A backup tool that holds the lock delays outcomes; it loses none.
    """
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    script += "c.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read()"
    changes = rows.whole_life(1)
    with subprocess.Popen(
        [sys.executable, "-c", script, store.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"locked\n"

        began = time.monotonic()
        with pytest.raises(StoreError, match=r"history\.db: the database is locked by another process"):
            store.writer.commit(changes)

        assert 1.5 < time.monotonic() - began < 10
        other.stdin.close()
        other.wait()
    store.writer.commit(changes)
    assert row_count(store) == 1


def test_database_that_cannot_grow_says_disk_full(store: Store) -> None:
    """
    A commit that finds no room is refused as a whole and works once there is some.
    """
    changes = rows.whole_life(1)
    changes.attempts.append(rows.attempt(2, output=b"x" * 1_000_000))
    pages = store.path.stat().st_size // 4096
    store.writer._connected().connection.cursor().execute(f"PRAGMA max_page_count={pages + 2}")

    with pytest.raises(StoreError, match=r"history\.db: disk full"):
        store.writer.commit(changes)

    assert row_count(store) == 0
    store.writer.commit(changes)  # over a fresh connection, which has no such limit
    assert row_count(store) == 1


@pytest.mark.root
def test_full_disk_loses_nothing_that_is_committed_again(tmp_path: Path) -> None:
    """
    On a disk that is really full the commit says so, and the same commit works when there is room.
    """
    with (
        small_disk(tmp_path / "disk", "2m") as disk,
        closing(Store.open(disk, now=rows.NOW)) as store,
    ):
        store.writer.commit(rows.whole_life(1))
        ballast = disk / "ballast"
        fill(ballast)
        changes = rows.whole_life(2)
        changes.attempts.append(rows.attempt(3, output=b"x" * 200_000))

        with pytest.raises(StoreError, match=r"disk full|input/output error"):
            store.writer.commit(changes)

        ballast.unlink()
        store.writer.commit(changes)
        assert row_count(store) == 2
        assert store.quick_check(5.0) == []


@pytest.mark.root
def test_read_only_file_system_is_said_and_outlived(tmp_path: Path) -> None:
    """
    A file system that the kernel made read-only refuses commits until it is mended.
    """
    with (
        small_disk(tmp_path / "disk", "4m") as disk,
        closing(Store.open(disk, now=rows.NOW)) as store,
    ):
        store.writer.close()  # a file system with files open for writing is not made read-only
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

        with pytest.raises(StoreError, match=r"cannot be (written|opened)"):
            store.writer.commit(rows.whole_life(1))
        with pytest.raises(StoreError, match="read-only"):
            Store.open(disk, now=rows.NOW)

        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        store.writer.commit(rows.whole_life(1))
        assert row_count(store) == 1


def test_removed_database_is_noticed(store: Store) -> None:
    """
    Outcomes must not go into a file that has no name any more.
    """
    store.path.unlink()

    with pytest.raises(StoreError, match="removed or replaced while in use; restart the agent"):
        store.writer.commit(rows.whole_life(1))

    assert not store.path.exists()


def test_replaced_database_is_not_written(store: Store, tmp_path: Path) -> None:
    """
    A backup put in place under a running agent gives other numbers to other files.
    """
    (tmp_path / "other").mkdir()
    with closing(Store.open(tmp_path / "other", now=rows.NOW)) as other:
        path = other.path
    path.replace(store.path)
    before = store.path.read_bytes()

    with pytest.raises(StoreError, match="replaced"):
        store.writer.commit(rows.whole_life(1))

    assert store.path.read_bytes() == before


def test_database_damaged_while_in_use_is_corrupt(store: Store) -> None:
    """
    Damage is told apart from trouble that passes.
    """
    store.writer.commit(rows.whole_life(*range(1, 200)))
    store.writer.close()
    with store.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (store.path.stat().st_size - 4096))

    with pytest.raises(CorruptStoreError, match=r"history\.db: the database is damaged"):
        store.writer.commit(rows.whole_life(200))


def test_idle_empties_a_log_that_readers_made_grow(store: Store) -> None:
    """
    While a reader is in the way idle returns at once; after it the log is emptied.
    """
    with store.reader(30.0) as connection:
        queries.totals(connection)
        for number in range(1, 4):
            store.writer.commit(Changes(attempts=[rows.attempt(number, output=b"x" * 2_000_000)]))
        began = time.monotonic()
        store.writer.idle()
        took = time.monotonic() - began
        grown = engine.wal_bytes(store.path)

    store.writer.idle()

    assert grown > 4 << 20
    assert took < 1.0
    assert engine.wal_bytes(store.path) == 0
    store.writer.commit(rows.whole_life(1))


def test_idle_leaves_a_small_log_alone(store: Store) -> None:
    """
    A checkpoint costs two syncs; an idle agent does not pay them for nothing.
    """
    store.writer.commit(rows.whole_life(1))
    before = engine.wal_bytes(store.path)

    store.writer.idle()

    assert engine.wal_bytes(store.path) == before > 0


def test_log_stays_bounded_under_a_stream_of_short_readers(store: Store) -> None:
    """
    Readers that come and go do not keep the log from being begun anew.
    """
    stop = threading.Event()

    def read() -> None:
        while not stop.wait(0.001):
            with store.reader() as connection:
                queries.totals(connection)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        biggest = 0
        for number in range(1, 121):
            store.writer.commit(Changes(attempts=[rows.attempt(number, output=b"x" * 400_000)]))
            biggest = max(biggest, engine.wal_bytes(store.path))
    finally:
        stop.set()
        thread.join()

    assert biggest < 16 << 20  # of 48 MB written


@pytest.mark.slow
def test_everything_committed_survives_kill_9(tmp_path: Path) -> None:
    """
    What commit returned from is there after the process was killed, complete and sound.
    """
    script = (
        "import sys, pathlib, store_rows as rows\n"
        "from conductor_loop.store.database import Store\n"
        "store = Store.open(pathlib.Path(sys.argv[1]), now=rows.NOW)\n"
        "for number in range(1, 1_000_000):\n"
        "    store.writer.commit(rows.whole_life(number))\n"
        "    print(number, flush=True)\n"
    )
    log = tmp_path / "log"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [sys.executable, "-c", script, tmp_path], stdout=out, cwd=Path(__file__).parents[1]
        ) as child,
    ):
        wait_until(lambda: log.read_bytes().count(b"\n") >= 50)
        child.send_signal(signal.SIGKILL)
    last = int(log.read_text().split("\n")[-2])

    with closing(Store.open(tmp_path, now=rows.NOW)) as store, store.reader() as connection:
        assert store.set_aside is None
        assert queries.highest_number(connection) in (last, last + 1)
        assert queries.open_files(connection) == []
        assert len(queries.recent_durations(connection, 10_000_000)) == queries.highest_number(connection)
        assert store.quick_check(10.0) == []


def test_close_twice_and_commit_after_it(store: Store) -> None:
    """
    A closed writer opens again by itself.
    """
    store.writer.close()
    store.writer.close()

    store.writer.commit(rows.whole_life(1))

    assert row_count(store) == 1
