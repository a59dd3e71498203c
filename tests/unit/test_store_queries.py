"""
Tests of the questions to the store.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Connection, select, text

import store_rows as rows
from conductor_loop.model import Cause, FoundBy, Kind, Outcome
from conductor_loop.store import queries, tables
from conductor_loop.store.changes import Changes
from conductor_loop.store.database import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(tmp_path, now=rows.NOW)) as opened:
        yield opened


def test_open_file_has_everything_that_recovery_needs(store: Store) -> None:
    """
    Every column comes back in the type that went in.
    """
    store.writer.commit(
        Changes(
            claims=[rows.claim(7, retry_of=3, found_by=FoundBy.RETRY)],
            ends=[rows.end(7, outcome=Outcome.FAILED, kind=Kind.TIMEOUT, message="too long", exit_code=None)],
        )
    )

    with store.reader() as connection:
        found = queries.open_files(connection)

    assert found == [
        queries.FileRow(
            number=7,
            name="intent-7.json",
            agent="agent",
            slot=7,
            identity=rows.claim(7).identity,
            found_by="retry",
            discovered_at=rows.NOW,
            claimed_at=rows.NOW + 1,
            retry_of=3,
            attempts=1,
            interruptions=0,
            next_attempt_at=None,
            outcome="failed",
            kind="timeout",
            message="too long",
            finished_at=rows.NOW + 3,
            exit_code=None,
            duration_us=250_000,
            wait_us=4_000,
            sha256="ab" * 32,
            target="intent-7.json",
            status_name="intent-7.json-20261118-000000.status",
            filed_at=None,
        )
    ]


def test_open_files_come_by_number_and_filed_ones_not_at_all(store: Store) -> None:
    """
    Recovery goes in the order of the claims.
    """
    store.writer.commit(rows.whole_life(2, 4))
    store.writer.commit(Changes(claims=[rows.claim(number) for number in (5, 3, 1)]))

    with store.reader() as connection:
        assert [found.number for found in queries.open_files(connection)] == [1, 3, 5]


@pytest.mark.parametrize("question", [queries.open_files, queries.first_starts])
def test_what_recovery_asks_reads_open_files_alone(
    store: Store, question: Callable[[Connection], object]
) -> None:
    """
    With millions of filed rows, a start must not walk through them or their attempts.
    """
    for plan in plans_of(store, question):
        assert "ix_files_open" in plan
        assert "SCAN attempts" not in plan
        assert "SCAN old" not in plan
        assert "TEMP B-TREE" not in plan


def test_ended_files_come_by_end_and_by_number_where_that_is_the_same(store: Store) -> None:
    """
    Asked for behind the last one of each answer, every file comes once; open ones never.
    """
    ends = {5: 100, 1: 200, 4: 200, 2: 200, 3: 300, 6: 301}
    claims = [rows.claim(number) for number in [*ends, 7]]
    store.writer.commit(
        Changes(claims=claims, ends=[rows.end(number, finished_at=at) for number, at in ends.items()])
    )
    found: list[int] = []
    after = (0, 0)
    with store.reader() as connection:
        while answer := queries.ended_files(connection, after, 300, 2):
            found += [row.number for row in answer]
            after = (answer[-1].finished_at or 0, answer[-1].number)
        last = [queries.last_ended(connection, until) for until in (99, 100, 300, 999)]

    assert found == [5, 1, 2, 4, 3]
    assert last == [0, 5, 3, 6]


@pytest.mark.parametrize(
    "question",
    [
        lambda connection: queries.ended_files(connection, (rows.NOW, 7), rows.NOW + 1, 50),
        lambda connection: queries.last_ended(connection, rows.NOW),
    ],
)
def test_deletion_walks_along_the_index(store: Store, question: Callable[[Connection], object]) -> None:
    """
    A look at the next few files costs the same however many there are.
    """
    for plan in plans_of(store, question):
        assert "SEARCH files USING" in plan
        assert "ix_files_finished_at" in plan
        assert "TEMP B-TREE" not in plan


def test_first_starts_are_those_of_open_files_that_ran(store: Store) -> None:
    """
    The wait until the first start is entered when such a file ends.
    """
    store.writer.commit(rows.whole_life(1))
    store.writer.commit(
        Changes(
            claims=[rows.claim(number) for number in (2, 3)],
            attempts=[rows.attempt(2), rows.attempt(2, attempt=2)],
        )
    )

    with store.reader() as connection:
        assert queries.first_starts(connection) == {2: rows.attempt(2).started_at}


def test_run_that_was_cut_off_is_a_first_start_too(store: Store) -> None:
    """
    Also where no attempt followed it yet, and the first of several.
    """
    cut_off = [rows.interruption(2), rows.interruption(3), rows.interruption(3, started_at=rows.NOW - 9)]
    store.writer.commit(
        Changes(
            claims=[rows.claim(number) for number in (2, 3)],
            attempts=[rows.attempt(2)],
            interruptions=cut_off,
        )
    )

    with store.reader() as connection:
        assert queries.first_starts(connection) == {2: rows.NOW + 1, 3: rows.NOW - 9}


def test_interruptions_of_a_file_come_back_in_their_order(store: Store) -> None:
    """
    When each run began, when it was found out and what cut it off; found out again, it is the same.
    """
    later = rows.interruption(2, started_at=rows.NOW + 9, cause=Cause.STOP)
    store.writer.commit(Changes(interruptions=[later, rows.interruption(2), rows.interruption(3)]))
    store.writer.commit(Changes(interruptions=[rows.interruption(2, found_at=rows.NOW + 5_000_000)]))

    with store.reader() as connection:
        found = queries.interruptions(connection, 2)
    assert [(one.started_at, one.found_at, one.cause) for one in found] == [
        (rows.NOW + 1, rows.NOW + 2_000_000, "death"),
        (rows.NOW + 9, rows.NOW + 2_000_000, "stop"),
    ]


def plans_of(store: Store, question: Callable[[Connection], object]) -> list[str]:
    """
    Return how SQLite answers each statement of a question.
    """
    statements: list[str] = []
    with store.reader() as connection:
        driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        driver.set_trace_callback(statements.append)
        question(connection)
        driver.set_trace_callback(None)
        return [str(driver.execute(f"EXPLAIN QUERY PLAN {one}").fetchall()) for one in statements]


def test_a_retry_is_found_by_the_file_that_it_was(store: Store) -> None:
    """
    The newest, by its own index; one whose file vanished before it was claimed tried nothing.
    """
    changes = Changes(claims=[rows.claim(1), rows.claim(2)])
    changes.claims += [rows.claim(number, retry_of=1) for number in (3, 4, 5)]
    changes.ends = [
        rows.end(3, outcome=Outcome.FAILED, kind=Kind.TIMEOUT),
        rows.end(5, outcome=Outcome.VANISHED, kind=Kind.VANISHED),
    ]
    store.writer.commit(changes)

    with store.reader() as connection:
        assert queries.retried_as(connection, 1) == 4
        assert queries.retried_as(connection, 2) is None
        assert queries.retried_as(connection, 99) is None
        assert queries.retries_of(connection, [99, 2, 1]) == {1: 4}
        assert queries.retries_of(connection, []) == {}
    [plan] = plans_of(store, lambda connection: queries.retries_of(connection, range(1, 1001)))
    assert "ix_files_retry_of" in plan
    assert "TEMP B-TREE" not in plan


def test_last_attempt_is_that_of_the_files_count(store: Store) -> None:
    """
    By the keys of both tables, whichever files are asked for.
    """
    changes = Changes(claims=[rows.claim(number) for number in (1, 2, 3)])
    changes.attempts = [
        rows.attempt(1, message="first"),
        rows.attempt(1, attempt=2, kind=Kind.TIMEOUT, message="second"),
        rows.attempt(3),
    ]
    changes.waits = [rows.wait(1, attempts=2), rows.wait(3, attempts=1)]
    store.writer.commit(changes)

    with store.reader() as connection:
        assert queries.last_attempts(connection, [2, 1]) == {1: (Kind.TIMEOUT, "second")}
    [plan] = plans_of(store, lambda connection: queries.last_attempts(connection, [1, 2]))
    assert "SCAN" not in plan


def test_open_retry_knows_where_its_file_was(store: Store) -> None:
    """
    Undecodable names included; for others, and where the old row is gone, there is nothing to know.
    """
    name = os.fsdecode(b"intent-\xff.json")
    changes = rows.whole_life(1)
    changes.ends = [rows.end(1, outcome=Outcome.FAILED, kind=Kind.TIMEOUT, target=name)]
    changes.claims += [rows.claim(2, retry_of=1), rows.claim(3, retry_of=99), rows.claim(4)]
    store.writer.commit(changes)

    with store.reader() as connection:
        found = queries.open_files(connection)
    assert [(row.number, row.retry_target) for row in found] == [(2, name), (3, None), (4, None)]


@pytest.mark.parametrize(
    "words",
    [
        "outcome IN ('failed', 'rejected')",
        "files.outcome IN ('failed','rejected') AND kind = 'timeout' AND number < 5",
    ],
)
def test_unsuccessful_files_have_an_index(store: Store, words: str) -> None:
    """
    The newest of them, without a walk through the millions that were processed.
    """
    query = text(f"SELECT number, name FROM files WHERE {words} ORDER BY number DESC LIMIT 50")

    [plan] = plans_of(store, lambda connection: connection.execute(query).all())

    assert "ix_files_unsuccessful" in plan
    assert "TEMP B-TREE" not in plan


def test_the_condition_of_that_index_has_sqlite_use_it(store: Store) -> None:
    """
    As the tables offer it to other questions.
    """
    query = select(tables.files.c.number).where(tables.UNSUCCESSFUL).order_by(tables.files.c.number.desc())

    [plan] = plans_of(store, lambda connection: connection.execute(query).all())

    assert "ix_files_unsuccessful" in plan


def test_file_that_never_was_is_none(store: Store) -> None:
    """
    Its row may also have been deleted by retention.
    """
    with store.reader() as connection:
        assert queries.file(connection, 99) is None
        assert queries.attempts(connection, 99) == []


def test_attempts_come_in_order_with_their_output(store: Store) -> None:
    """
    One file's whole story.
    """
    store.writer.commit(
        Changes(
            attempts=[rows.attempt(1, attempt=2, signal=9, survivors=1), rows.attempt(1), rows.attempt(2)]
        )
    )

    with store.reader() as connection:
        first, second = queries.attempts(connection, 1)

    assert first == queries.PastAttempt(
        number=1,
        attempt=1,
        started_at=rows.NOW + 2,
        duration_us=250_000,
        exit_code=1,
        signal=None,
        kind="command_failed",
        message="exit code 1",
        output=b"no \xff good",
        output_bytes=300_000_000,
        survivors=0,
    )
    assert (second.attempt, second.signal, second.survivors) == (2, 9, 1)


def test_recent_durations_are_of_files_that_ran_newest_first(store: Store) -> None:
    """
    Rejected files never ran; open ones have no end.
    """
    changes = rows.whole_life(1, 2, 3, 4)
    changes.ends[1] = rows.end(2, outcome=Outcome.REJECTED, kind=Kind.EMPTY, duration_us=None)
    changes.ends[2] = rows.end(3, outcome=Outcome.FAILED, kind=Kind.TIMEOUT, duration_us=1_500_000)
    changes.claims.append(rows.claim(5))
    store.writer.commit(changes)

    with store.reader() as connection:
        assert queries.recent_durations(connection) == [(4, 0.25), (3, 1.5), (1, 0.25)]
        assert queries.recent_durations(connection, limit=1) == [(4, 0.25)]


def test_last_finished_at_is_the_latest_of_that_outcome(store: Store) -> None:
    """
    The newest number is not always the last to finish.
    """
    changes = rows.whole_life(1, 2, 3)
    changes.ends = [
        rows.end(1, finished_at=50),
        rows.end(2, finished_at=40),
        rows.end(3, finished_at=60, outcome=Outcome.FAILED),
    ]
    store.writer.commit(changes)

    with store.reader() as connection:
        assert queries.last_finished_at(connection, Outcome.PROCESSED) == 50
        assert queries.last_finished_at(connection, Outcome.FAILED) == 60
        assert queries.last_finished_at(connection, Outcome.VANISHED) is None


def test_highest_number_of_an_empty_store_is_0(store: Store) -> None:
    """
    The first file is number 1.
    """
    with store.reader() as connection:
        assert queries.highest_number(connection) == 0
        assert queries.open_files(connection) == []
        assert queries.recent_durations(connection) == []
        assert queries.totals(connection) == {}
        assert queries.pauses(connection) == {}


def test_words_of_a_newer_program_come_back_as_they_are(store: Store) -> None:
    """
    After going back one version, rows with a kind that this version does not know are still readable.
    """
    store.writer.commit(rows.whole_life(1))
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("UPDATE files SET kind = 'too_blue', found_by = 'telegram', filed_at = NULL")
        connection.execute("INSERT INTO pauses VALUES ('moon', 5, '')")

    with store.reader() as reader:
        (found,) = queries.open_files(reader)
        assert (found.kind, found.found_by) == ("too_blue", "telegram")
        assert queries.pauses(reader) == {"moon": (5, "")}
