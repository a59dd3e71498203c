"""
A ledger from a store and directories: recovery planned, counters loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from conductor_loop.ledger import recovery
from conductor_loop.ledger.book import Book
from conductor_loop.ledger.ledger import Ledger
from conductor_loop.ledger.marks import Mark, Marks
from conductor_loop.ledger.places import Places
from conductor_loop.ledger.restore import Restorer
from conductor_loop.ledger.survey import survey
from conductor_loop.metrics.live import Live
from conductor_loop.model import Author, Filed, Outcome
from conductor_loop.store import queries
from conductor_loop.store.database import Store

_READ_SECONDS = 60.0  #: for the questions at start; with ten million rows they take well under one


@dataclass(frozen=True, slots=True)
class Memory:
    """
    What the store knows at start.
    """

    rows: Sequence[queries.FileRow]
    outputs: dict[int, bytes]  #: of the last attempt of files that ended and are not filed, by number
    first_starts: dict[int, int]  #: moments, of open files that have run, by number
    totals: dict[tuple[str, str], int]
    highest_number: int
    pauses: dict[str, tuple[int, str]]
    recent: Sequence[tuple[int, float]]
    last_success_at: int | None


def remember(store: Store) -> Memory:
    """
    Read what the agent needs at start.

    Raises:
        StoreError: if the store cannot be read.
    """
    with store.reader(_READ_SECONDS) as connection:
        rows = queries.open_files(connection)
        ended = [row.number for row in rows if row.outcome is not None]
        return Memory(
            rows=rows,
            outputs={number: _last_output(queries.attempts(connection, number)) for number in ended},
            first_starts=queries.first_starts(connection),
            totals=queries.totals(connection),
            highest_number=queries.highest_number(connection),
            pauses=queries.pauses(connection),
            recent=queries.recent_durations(connection),
            last_success_at=queries.last_finished_at(connection, Outcome.PROCESSED),
        )


def open_ledger(
    memory: Memory,
    *,
    store: Store,
    places: Places,
    marks: Marks,
    left_behind: Sequence[Mark],
    live: Live,
    author: Author,
    announce: Callable[[Sequence[Filed]], None],
    look_ahead: int,
    max_waiting: int,
    max_delay: float,
    scan_interval: float,
) -> Ledger:
    """
    Return a ledger that recovers when it is started.

    Args:
        left_behind: what the last agent was running; its processes have been ended.
        max_delay: seconds that a file waits for another attempt at most.
    """
    by_id = {mark.id: mark for mark in left_behind}
    facts = survey(places, memory.rows, by_id, store.store_id, outdated=store.put_back is not None)
    ledger = Ledger(
        writer=store.writer,
        reader=store.reader,
        book=Book(store_id=store.store_id, totals=memory.totals, highest_number=memory.highest_number),
        places=places,
        live=live,
        author=author,
        announce=announce,
        look_ahead=look_ahead,
        max_waiting=max_waiting,
        scan_interval=scan_interval,
        restore=Restorer(
            recovery.plan(facts),
            outputs=memory.outputs,
            first_starts=memory.first_starts,
            max_delay=max_delay,
            done=marks.clear_all,
        ),
    )
    ledger.pauses.load(memory.pauses)
    return ledger


def _last_output(attempts: Sequence[queries.PastAttempt]) -> bytes:
    return attempts[-1].output if attempts else b""
