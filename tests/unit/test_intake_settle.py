"""
The decision when a file is ready.
"""

from __future__ import annotations

import pytest

from conductor_loop.intake.settle import READY, Candidate, Settler, Wait
from conductor_loop.model import FoundBy, Identity

WALL = 1_700_000_000_000_000  # microseconds


def seen(age: float, size: int = 1) -> Identity:
    """
    Return what a file looks like that was last changed `age` seconds before `WALL`.
    """
    changed = (WALL - round(age * 1_000_000)) * 1000
    return Identity(1, 2, size, changed, changed)


def make(held: bool | None = False, *, observe: bool = False) -> Settler:
    """
    Return a settler with half a second.
    """
    return Settler(settle=0.5, observe=observe, writer_has=lambda _: held)


def candidate(*, renamed_in: bool = False) -> Candidate:
    """
    Return a name that was just noticed.
    """
    return Candidate(FoundBy.EVENT, WALL, renamed_in=renamed_in)


def judge(settler: Settler, about: Candidate, identity: Identity, now: float = 100.0) -> object:
    """
    Judge at the wall clock's moment `WALL`.
    """
    return settler.judge("x", about, identity, now=now, wall_us=WALL)


@pytest.mark.parametrize("held", [False, None])
def test_renamed_in_is_ready_at_once(held: bool | None) -> None:
    """
    Also where it cannot be told whether somebody writes to it.
    """
    assert judge(make(held), candidate(renamed_in=True), seen(0)) is READY


def test_renamed_in_and_held_is_treated_as_written_in_place() -> None:
    """
    When the writer ends it still has to settle.
    """
    about = candidate(renamed_in=True)
    assert isinstance(judge(make(held=True), about, seen(0)), Wait)
    assert judge(make(), about, seen(0.1)) == Wait(pytest.approx(100.4))


def test_renamed_in_and_changed_after_is_treated_as_written_in_place() -> None:
    """
    A change after the rename shows a writer.
    """
    about = candidate(renamed_in=True)
    make().time_left(about, seen(5), now=99.0, wall_us=WALL)

    assert judge(make(), about, seen(0.1, size=2)) == Wait(pytest.approx(100.4))


@pytest.mark.parametrize("held", [False, None])
def test_written_in_place_is_ready_when_old_enough(held: bool | None) -> None:
    """
    For another user's file, where there is no lease, time alone decides.
    """
    assert judge(make(held), candidate(), seen(0.5)) is READY


def test_written_in_place_waits_for_what_is_missing() -> None:
    """
    It is looked at again at the right moment, never dropped.
    """
    assert judge(make(), candidate(), seen(0.2)) == Wait(pytest.approx(100.3))


def test_old_file_that_is_held_waits_longer_and_longer() -> None:
    """
    Up to a second, so that a hundred sleeping writers cost nothing.
    """
    about = candidate()
    waits = []
    for _ in range(9):
        decision = judge(make(held=True), about, seen(60))
        assert isinstance(decision, Wait)
        waits.append(decision.until - 100.0)

    assert waits == sorted(waits)
    assert waits[0] < 0.1
    assert waits[-1] == pytest.approx(1.0)


def test_file_changed_in_the_future_is_observed() -> None:
    """
    The clock was set back; the file must be seen unchanged for the time by the other clock.
    """
    about, settler = candidate(), make()
    assert judge(settler, about, seen(-3600), now=100.0) == Wait(100.5)
    assert judge(settler, about, seen(-3600), now=100.4) == Wait(100.5)
    assert judge(settler, about, seen(-3600, size=2), now=100.5) == Wait(101.0)
    assert judge(settler, about, seen(-3600, size=2), now=101.0) is READY


def test_network_file_is_always_observed() -> None:
    """
    Its time stamps come from another clock.
    """
    about, settler = candidate(), make(None, observe=True)
    assert judge(settler, about, seen(86_400), now=100.0) == Wait(100.5)
    assert judge(settler, about, seen(86_400), now=100.5) is READY


@pytest.mark.parametrize("field", ["size", "mtime_ns", "ctime_ns", "ino"])
def test_every_change_starts_the_wait_anew(field: str) -> None:
    """
    Size, times and the inode itself.
    """
    about, settler = candidate(), make(None, observe=True)
    before = seen(60)
    after = before._replace(**{field: getattr(before, field) + 1})
    settler.time_left(about, before, now=100.0, wall_us=WALL)

    assert judge(settler, about, after, now=100.4) == Wait(100.9)


def test_lease_is_not_asked_of_a_file_that_is_too_young() -> None:
    """
    Every question opens the file.
    """

    def writer_has(name: str) -> bool:
        raise AssertionError(name)

    settler = Settler(settle=0.5, observe=False, writer_has=writer_has)

    assert isinstance(judge(settler, candidate(), seen(0)), Wait)
