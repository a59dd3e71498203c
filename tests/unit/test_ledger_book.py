"""
The ledger's working copy of what the store holds.
"""

from __future__ import annotations

from typing import Any, cast

from conductor_loop.ledger.book import Book
from conductor_loop.ledger.entry import Entry
from conductor_loop.ledger.page import Page
from conductor_loop.ledger.places import Places
from conductor_loop.ledger.timers import Timers
from conductor_loop.model import Finished, Identity, Kind, Outcome


def book(**given: Any) -> Book:
    values: dict[str, Any] = {"store_id": "s", "totals": {}, "highest_number": 0}
    return Book(**values | given)


def entry(number: int) -> Entry:
    return Entry(
        number=number,
        id=f"s-{number}",
        name="x",
        places=cast("Places", None),
        agent="agent",
        slot=0,
        identity=Identity(1, 2, 3, 4_000_000, 5_000),
        discovered_at=1,
        claimed_at=2,
    )


def test_numbers_go_on_from_the_highest_ever_given() -> None:
    """
    Even when rows were pruned, or the counter is missing.
    """
    page = Page()

    assert book(totals={("claimed", ""): 70}, highest_number=3).next_number(page) == 71
    assert book(totals={}, highest_number=9).next_number(page) == 10
    assert page.changes.totals == {("claimed", ""): 10}


def test_page_carries_absolute_values() -> None:
    """
    A commit repeated after an uncertain failure counts nothing twice.
    """
    page = Page()
    mine = book(totals={("retries", ""): 5})
    mine.count("retries", "", page)
    mine.count("retries", "", page)
    mine.count("retries", "", page, by=3)

    assert page.changes.totals == {("retries", ""): 10}


def test_end_counts_and_is_shown_on_the_same_page() -> None:
    """
    Nothing is published that is not durable.
    """
    page = Page()
    end = Finished(number=1, outcome=Outcome.FAILED, kind=Kind.TIMEOUT, finished_at=9, duration=2.5, wait=0.5)
    book(totals={("outcomes", "failed/timeout"): 4}).finish(end, page)

    assert page.finished == [end]
    assert page.changes.totals[("outcomes", "failed/timeout")] == 5
    assert page.changes.totals[("duration_us", "")] == 2_500_000


def test_file_is_open_then_filed_then_forgotten() -> None:
    """
    Filed is not closed: its row says so only after a flush.
    """
    mine = book()
    one, two = entry(1), entry(2)
    mine.add(one)
    mine.add(two)
    assert [len(mine), mine[1], list(mine)] == [2, one, [one, two]]

    mine.filed(one)
    assert list(mine) == [two]
    assert mine.unmarked() == [one]
    assert mine.take_to_flush() == [one]
    assert mine.take_to_flush() == []
    assert mine.unmarked() == [one]

    mine.marked([one])
    mine.marked([one])
    assert mine.unmarked() == []


def test_ids_carry_the_store() -> None:
    """
    A new store begins at 1 again, and no id is used twice all the same.
    """
    assert book(store_id="abc").id(7) == "abc-7"


def test_timers_run_what_is_due_in_order_and_leave_what_they_add() -> None:
    """
    An action that puts itself off does not keep the thread.
    """
    timers, done = Timers(), cast("list[str]", [])

    def again(page: Page) -> None:
        done.append("again")
        timers.after(0, again)

    timers.after(0, again)
    timers.after(0, lambda page: done.append("second"))
    timers.after(3600, lambda page: done.append("never"))
    timers.run_due(Page())

    assert done == ["again", "second"]
    assert timers.wait(1.0) == 0
    assert Timers().wait(1.0) == 1.0
