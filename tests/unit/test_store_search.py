"""
Tests of the search for files.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Connection

import store_rows as rows
from conductor_loop.model import Kind, Outcome
from conductor_loop.store import queries
from conductor_loop.store.changes import Changes
from conductor_loop.store.database import Store
from conductor_loop.store.failures import QueryTimeoutError
from conductor_loop.store.search import OPEN, FileFilter, search

SECOND = 1_000_000
HOUR = 3600 * SECOND


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(tmp_path, now=rows.NOW)) as opened:
        yield opened


def wanted(**given: Any) -> FileFilter:
    for name in ("outcomes", "kinds"):
        given[name] = frozenset(given.get(name, ()))
    return FileFilter(**given)


def numbers(store: Store, filter: FileFilter, *, limit: int = 100, before: int | None = None) -> list[int]:
    with store.reader() as connection:
        return [row.number for row in search(connection, filter, limit=limit, before=before)]


def write_history(store: Store, count: int = 60) -> None:
    """
    Write files of every outcome; those with odd endings finished long after later ones, and the last are open.
    """
    dice = random.Random(7)
    ways = [
        (Outcome.PROCESSED, None),
        (Outcome.PROCESSED, None),
        (Outcome.FAILED, Kind.TIMEOUT),
        (Outcome.FAILED, Kind.COMMAND_FAILED),
        (Outcome.REJECTED, Kind.INVALID_JSON),
        (Outcome.VANISHED, Kind.VANISHED),
    ]
    changes = Changes()
    for number in range(1, count + 1):
        claimed_at = rows.NOW + number * 60 * SECOND
        changes.claims.append(
            rows.claim(
                number,
                name=f"intent-{'ab'[number % 2]}-{number}.json",
                claimed_at=claimed_at,
                retry_of=None if number % 4 else number // 2,
            )
        )
        if number <= count - 6 or number % 2:
            outcome, kind = dice.choice(ways)
            finished_at = claimed_at + dice.choice([SECOND, 7 * SECOND, 2 * HOUR])
            changes.ends.append(rows.end(number, outcome=outcome, kind=kind, finished_at=finished_at))
            if number % 7:  # the others are not filed yet
                changes.filed.append(rows.filed(number))
    store.writer.commit(changes)


def expected(store: Store, filter: FileFilter) -> list[int]:
    """
    Return what must be found, by looking at every file.
    """
    with store.reader() as connection:
        everything = [queries.file(connection, number) for number in range(1, 61)]
    kept = [row for row in everything if row is not None]
    retried = {row.retry_of for row in kept if row.outcome != Outcome.VANISHED}
    return [row.number for row in reversed(kept) if _fits(row, filter, retried)]


def _fits(row: queries.FileRow, filter: FileFilter, retried: set[int | None]) -> bool:
    moment = row.claimed_at if row.finished_at is None else row.finished_at
    if filter.unresolved and (row.outcome not in ("failed", "rejected") or row.number in retried):
        return False
    return (
        (not filter.outcomes or (row.outcome or OPEN) in filter.outcomes)
        and (not filter.kinds or row.kind in filter.kinds)
        and (filter.name_glob is None or fnmatchcase(row.name, filter.name_glob))
        and (filter.since_at is None or moment >= filter.since_at)
        and (filter.until_at is None or moment < filter.until_at)
    )


MOMENT = rows.NOW + 30 * 60 * SECOND
FILTERS = [
    wanted(),
    wanted(outcomes=[OPEN]),
    wanted(outcomes=[Outcome.FAILED]),
    wanted(outcomes=[Outcome.FAILED, Outcome.REJECTED]),
    wanted(outcomes=[Outcome.PROCESSED, OPEN]),
    wanted(outcomes=[Outcome.VANISHED]),
    wanted(kinds=[Kind.TIMEOUT]),
    wanted(kinds=[Kind.TIMEOUT, Kind.VANISHED]),
    wanted(kinds=[Kind.INVALID_JSON], outcomes=[Outcome.FAILED]),
    wanted(kinds=[Kind.TIMEOUT], outcomes=[Outcome.PROCESSED]),
    wanted(kinds=[Kind.POISON]),
    wanted(name_glob="intent-a-*"),
    wanted(name_glob="intent-[!a]-?.json", outcomes=[Outcome.PROCESSED]),
    wanted(name_glob="INTENT-*"),
    wanted(name_glob="intent-a-2.json", since_at=rows.NOW),
    wanted(since_at=MOMENT),
    wanted(until_at=MOMENT),
    wanted(since_at=MOMENT, until_at=MOMENT + HOUR),
    wanted(since_at=MOMENT, outcomes=[Outcome.FAILED, OPEN]),
    wanted(since_at=MOMENT, until_at=MOMENT + HOUR, kinds=[Kind.TIMEOUT, Kind.COMMAND_FAILED]),
    wanted(since_at=MOMENT + 90 * HOUR),
    wanted(since_at=MOMENT, until_at=MOMENT),
    wanted(unresolved=True),
    wanted(unresolved=True, outcomes=[Outcome.FAILED]),
    wanted(unresolved=True, outcomes=[Outcome.PROCESSED, OPEN]),
    wanted(unresolved=True, kinds=[Kind.VANISHED]),
    wanted(unresolved=True, kinds=[Kind.TIMEOUT], since_at=MOMENT),
]


@pytest.mark.parametrize("filter", FILTERS)
def test_every_filter_finds_what_looking_at_all_files_finds(store: Store, filter: FileFilter) -> None:
    """
    Newest first, also files that finished long after others with higher numbers.
    """
    write_history(store)

    assert numbers(store, filter) == expected(store, filter)


@pytest.mark.parametrize("filter", FILTERS)
def test_pages_follow_one_another_without_gap_or_repetition(store: Store, filter: FileFilter) -> None:
    """
    Whatever open and ended files lie between each other.
    """
    write_history(store)
    found: list[int] = []
    while page := numbers(store, filter, limit=7, before=found[-1] if found else None):
        assert len(page) == 7 or numbers(store, filter, before=page[-1]) == []
        found += page

    assert found == expected(store, filter)


def test_since_takes_its_moment_in_and_until_leaves_it_out(store: Store) -> None:
    """
    So that two spans that meet share no file and lose none.
    """
    changes = rows.whole_life(1)
    changes.claims.append(rows.claim(2, claimed_at=MOMENT))
    changes.ends = [rows.end(1, finished_at=MOMENT)]
    store.writer.commit(changes)

    assert numbers(store, wanted(since_at=MOMENT)) == [2, 1]
    assert numbers(store, wanted(since_at=MOMENT + 1)) == []
    assert numbers(store, wanted(until_at=MOMENT)) == []
    assert numbers(store, wanted(until_at=MOMENT + 1)) == [2, 1]
    assert numbers(store, wanted(since_at=MOMENT, until_at=MOMENT + 1)) == [2, 1]
    assert numbers(store, wanted(since_at=MOMENT - 9, until_at=MOMENT)) == []


def test_the_made_up_history_has_something_for_most_filters(store: Store) -> None:
    """
    Otherwise the two tests above would prove little.
    """
    write_history(store)

    assert sum(bool(expected(store, one)) for one in FILTERS) >= len(FILTERS) - 8
    assert len(expected(store, wanted(outcomes=[OPEN]))) == 3


@pytest.mark.parametrize(
    ("glob", "name"),
    [
        ("[[]a].json", "[a].json"),
        ("a%_*", "a%_b"),
        ("*\\xff*", "x\udcffy.json"),
        ("é?", "éa"),
        ("a'*", "a'b"),
    ],
)
def test_names_are_matched_as_they_are_shown(store: Store, glob: str, name: str) -> None:
    """
    Nothing but the shell's four forms is special; bytes that are no text are found by their escapes.
    """
    store.writer.commit(Changes(claims=[rows.claim(1, name=name), rows.claim(2, name="other")]))

    assert numbers(store, wanted(name_glob=glob)) == [1]


@pytest.mark.parametrize("filter", FILTERS)
def test_files_that_lie_far_back_are_found_as_well(
    store: Store, filter: FileFilter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where the first look, at the newest numbers, does not fill the page.
    """
    monkeypatch.setattr("conductor_loop.store.search._NEAR", 5)
    write_history(store)

    assert numbers(store, filter, limit=10) == expected(store, filter)[:10]
    assert numbers(store, filter, limit=2, before=30) == [n for n in expected(store, filter) if n < 30][:2]


def test_a_page_that_is_full_soon_is_not_measured_first(store: Store) -> None:
    """
    For `since` a year ago that would go through a year.
    """
    fill(store, 200)

    assert "ix_files_finished_at" not in plans(store, wanted(since_at=rows.NOW), limit=50)


def plans(store: Store, filter: FileFilter, *, before: int | None = None, limit: int = 5000) -> str:
    """
    Return how SQLite goes about a search; by default one for more than there is, which goes to the end.
    """
    statements: list[str] = []
    with store.reader() as connection:
        driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        driver.set_trace_callback(statements.append)
        search(connection, filter, limit=limit, before=before)
        driver.set_trace_callback(None)
        return "\n".join(
            str(step[3])
            for statement in statements
            for step in driver.execute(f"EXPLAIN QUERY PLAN {statement}")
        )


def fill(store: Store, count: int) -> None:
    """
    Make the database large enough for its statistics, had it any, to matter; nearly all files were processed.
    """
    changes = rows.whole_life(*range(1, count + 1))
    changes.ends = [end._replace(finished_at=rows.NOW + end.number) for end in changes.ends]
    changes.ends[::50] = [
        end._replace(outcome=Outcome.FAILED, kind=Kind.TIMEOUT) for end in changes.ends[::50]
    ]
    store.writer.commit(changes)


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize(
    ("filter", "words"),
    [
        (wanted(), "SCAN files"),
        (wanted(outcomes=[Outcome.FAILED]), "USING INDEX ix_files_unsuccessful"),
        (wanted(kinds=[Kind.TIMEOUT]), "USING INDEX ix_files_unsuccessful"),
        (wanted(unresolved=True), "USING INDEX ix_files_unsuccessful"),
        (wanted(unresolved=True), "newer USING INDEX ix_files_retry_of (retry_of=?)"),
        (wanted(outcomes=[OPEN]), "USING INDEX ix_files_open"),
        (
            wanted(outcomes=[Outcome.FAILED, Outcome.REJECTED], since_at=rows.NOW + 1900),
            "USING INDEX ix_files_unsuccessful (number>?)",
        ),
        (wanted(since_at=rows.NOW + 1900), "USING INTEGER PRIMARY KEY (rowid>?)"),
        (
            wanted(since_at=rows.NOW + 1900, until_at=rows.NOW + 1950),
            "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            wanted(outcomes=[Outcome.FAILED], since_at=rows.NOW + 1900, until_at=rows.NOW + 1950),
            "USING INDEX ix_files_unsuccessful (number>? AND number<?)",
        ),
        (wanted(outcomes=[Outcome.PROCESSED], until_at=rows.NOW + 1950), "SCAN files"),
    ],
)
def test_usual_questions_do_not_go_through_the_history(
    store: Store, filter: FileFilter, words: str, analyzed: bool
) -> None:
    """
    They walk down the numbers, sort nothing, and read moments from their index alone.
    """
    fill(store, 2000)
    if analyzed:
        with closing(sqlite3.connect(store.path)) as connection, connection:
            connection.execute("ANALYZE")
    plan = plans(store, filter)

    assert words in plan
    assert "TEMP B-TREE" not in plan
    assert plan.count("ix_files_finished_at") == plan.count("COVERING INDEX ix_files_finished_at")
    assert ("ix_files_finished_at" in plan) == (filter.since_at is not None)


def test_the_next_page_begins_where_the_last_one_ended(store: Store) -> None:
    """
    By the key, not by counting.
    """
    fill(store, 2000)

    assert "USING INTEGER PRIMARY KEY (rowid<?)" in plans(store, wanted(), before=1000)
    assert "ix_files_unsuccessful (number<?)" in plans(store, wanted(kinds=[Kind.TIMEOUT]), before=1000)


def test_a_search_that_takes_too_long_is_cut_off(store: Store) -> None:
    """
    By the reader's deadline.
    """
    fill(store, 2000)

    def endless(connection: Connection) -> None:
        while True:
            search(connection, wanted(name_glob="nothing"), limit=1)

    with pytest.raises(QueryTimeoutError), store.reader(0.05) as connection:
        endless(connection)
