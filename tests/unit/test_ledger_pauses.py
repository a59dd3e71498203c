"""
Why intake does not run, and what of it survives a restart.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from conductor_loop.ledger.admission import Admission
from conductor_loop.ledger.page import Page
from conductor_loop.ledger.pauses import Pauses, SetPause
from conductor_loop.metrics.live import Live
from conductor_loop.metrics.snapshot import Pause
from conductor_loop.model import PauseReason
from conductor_loop.store import queries
from ledgers import Bench, running
from waiting import wait_until


class Set:
    """
    Pauses with what they act on.
    """

    def __init__(self) -> None:
        self.live = Live(max_workers=1, command_name="porch")
        self.admission = Admission(look_ahead=4, live=self.live, post=lambda message: None)
        self.pauses = Pauses(admission=self.admission, live=self.live)

    def shown(self) -> dict[PauseReason, str]:
        return {reason: pause.message for reason, pause in self.live.snapshot().pauses.items()}


@pytest.fixture
def made() -> Set:
    return Set()


def kept(bench: Bench) -> set[str]:
    with bench.store.reader() as connection:
        return set(queries.pauses(connection))


def test_intake_runs_only_while_no_reason_stands(made: Set) -> None:
    """
    Lifting one of two changes nothing.
    """
    made.pauses.set(PauseReason.DISK, "full")
    made.pauses.set(PauseReason.COMMAND, "missing")
    made.pauses.lift(PauseReason.DISK)
    assert made.admission.paused()
    assert PauseReason.DISK not in made.pauses
    assert PauseReason.COMMAND in made.pauses

    made.pauses.lift(PauseReason.COMMAND)
    assert not made.admission.paused()


def test_reasons_are_shown_with_their_latest_explanation(made: Set) -> None:
    """
    And since when the first of them stands.
    """
    made.pauses.set(PauseReason.DISK, "100 MiB free")
    since = made.live.snapshot().pauses[PauseReason.DISK].since
    made.pauses.set(PauseReason.DISK, "90 MiB free")

    assert made.shown() == {PauseReason.DISK: "90 MiB free"} == dict(made.pauses.reasons)
    assert made.live.snapshot().pauses[PauseReason.DISK].since == since
    made.pauses.lift(PauseReason.DISK)
    assert made.shown() == {}


def test_lifting_what_does_not_stand_does_nothing(made: Set) -> None:
    """
    Not even a wake-up.
    """
    wakes: list[int] = []
    made.admission.on_room(lambda: wakes.append(1))
    made.pauses.lift(PauseReason.COMMAND)

    assert wakes == []


@pytest.mark.parametrize("reason", list(PauseReason))
def test_only_what_somebody_asked_for_is_remembered(made: Set, reason: PauseReason) -> None:
    """
    The other reasons are found again where they still stand.
    """
    page = Page()
    made.pauses.handle(SetPause(reason, "because"), page)
    remembered = dict(page.changes.pauses)
    made.pauses.handle(SetPause(reason, None), page)

    if reason in {PauseReason.OPERATOR, PauseReason.DRAIN}:
        assert remembered[reason] is not None
        assert page.changes.pauses == {reason: None}
    else:
        assert page.changes.pauses == {}


@pytest.mark.parametrize("reason", [PauseReason.OPERATOR, PauseReason.DRAIN])
def test_operator_and_drain_survive_a_restart(tmp_path: Path, reason: PauseReason) -> None:
    """
    Nobody is surprised by files that run while he works on the machine. They keep their beginning.
    """
    with running(tmp_path) as bench:
        bench.ledger.set_pause(reason, "maintenance")
        wait_until(lambda: kept(bench) == {reason})
        since = bench.live.snapshot().pauses[reason].since
    with running(tmp_path) as bench:
        assert bench.ledger.admission.paused()
        assert bench.live.snapshot().pauses[reason] == Pause(since, "maintenance")
        assert bench.ledger.change_pause(reason, "still") == Pause(since, "maintenance")
    with running(tmp_path) as bench:
        assert bench.live.snapshot().pauses[reason] == Pause(since, "still")
        bench.ledger.set_pause(reason, None)
        wait_until(lambda: not kept(bench))
        wait_until(lambda: not bench.ledger.admission.paused())
    with running(tmp_path) as bench:
        assert not bench.ledger.admission.paused()


def test_other_reasons_do_not_survive_a_restart(tmp_path: Path) -> None:
    """
    The disk may be empty by then.
    """
    with running(tmp_path) as bench:
        bench.ledger.set_pause(PauseReason.DISK, "full")
        wait_until(bench.ledger.admission.paused)
        assert kept(bench) == set()
    with running(tmp_path) as bench:
        assert not bench.ledger.admission.paused()


def test_reason_of_a_newer_program_does_not_stop_the_start(made: Set) -> None:
    """
    One version back always runs; what it cannot name it cannot lift either, so it does not take it over.
    """
    made.pauses.load({"of_tomorrow": (1, "?"), "operator": (2, "maintenance")})

    assert made.shown() == {PauseReason.OPERATOR: "maintenance"}
