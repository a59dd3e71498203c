"""
Files in hand that wait, and what a drain does to them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from conductor_loop.ledger import endings
from conductor_loop.model import Again, Blocked, Kind, PauseReason, Unsettled, Verdict
from ledgers import Bench, running
from waiting import wait_until

WAITS: dict[str, Verdict] = {
    "another attempt": Again(Kind.SIGNAL, "killed", delay=0.02),
    "a missing command": Blocked(PauseReason.COMMAND, "porch is missing"),
    "its writer, in its slot": Unsettled(delay=0.02),
    "its writer, in the handoff directory": Unsettled(delay=0.02, give_back=True),
}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "_BLOCKED_AGAIN", 0.02)
    monkeypatch.setattr(endings, "_NO_PLACE", 0.02)


def drain(bench: Bench) -> None:
    bench.ledger.change_pause(PauseReason.DRAIN, "maintenance")


def go_on(bench: Bench) -> None:
    bench.ledger.change_pause(PauseReason.DRAIN, None)


def come_due(bench: Bench, files: int) -> None:
    """
    Wait until the time of so many waiting files has come, and they are held.
    """
    wait_until(lambda: len(bench.ledger._waiting._held) == files)


def fields(verdict: Verdict) -> dict[str, object]:
    return {} if isinstance(verdict, Again) else {"run": None}


@pytest.mark.parametrize("verdict", WAITS.values(), ids=WAITS.keys())
def test_waiting_file_goes_on_only_when_the_drain_ends(tmp_path: Path, verdict: Verdict) -> None:
    """
    For whatever it waits; nothing counts against it.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        job = bench.take()
        drain(bench)
        assert (bench.ledger.in_hand(), bench.ledger.waiting) == (1, 0)
        bench.report(job, verdict, **fields(verdict))
        come_due(bench, 1)
        assert (bench.ledger.in_hand(), bench.ledger.waiting) == (0, 1)
        assert bench.live.snapshot().queue_depth == 0

        go_on(bench)
        again = bench.take()
        assert again.number == 1
        assert (bench.ledger.in_hand(), bench.ledger.waiting) == (1, 0)
        bench.report(again)
        bench.wait_filed(again)
        assert (bench.ledger.in_hand(), bench.ledger.waiting) == (0, 0)


@pytest.mark.parametrize("verdict", WAITS.values(), ids=WAITS.keys())
def test_file_that_waits_is_not_in_hand_and_goes_on_in_time(tmp_path: Path, verdict: Verdict) -> None:
    """
    Without a drain as well.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        bench.report(bench.take(), verdict, **fields(verdict))
        again = bench.take()

        assert (bench.ledger.in_hand(), bench.ledger.waiting) == (1, 0)
        bench.report(again)


def test_running_and_queued_files_finish_during_a_drain(tmp_path: Path) -> None:
    """
    Then nothing is in hand.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json", "intent-b.json")
        first = bench.take()
        drain(bench)
        assert bench.ledger.in_hand() == 2
        bench.report(first)
        second = bench.take()
        bench.report(second)
        bench.wait_filed(first, second)

        wait_until(lambda: bench.ledger.in_hand() == 0)


def test_file_that_intake_offers_when_a_drain_begins_is_not_claimed(tmp_path: Path) -> None:
    """
    It was looked at before; it stays where it is and may be offered again.
    """
    with running(tmp_path) as bench:
        drain(bench)
        bench.offer("intent-a.json")
        wait_until(lambda: not bench.ledger.admission.in_hand("intent-a.json"))
        assert (len(bench.ledger.book), bench.ledger.in_hand()) == (0, 0)
        assert (bench.handoff / "intent-a.json").exists()

        go_on(bench)
        assert bench.process("intent-a.json").outcome == "processed"


def test_other_pauses_hold_nobody(tmp_path: Path) -> None:
    """
    An operator's pause is for new files.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        job = bench.take()
        bench.ledger.change_pause(PauseReason.OPERATOR, "maintenance")
        bench.report(job, Again(Kind.SIGNAL, "killed", delay=0.02))

        again = bench.take()
        bench.report(again)
        bench.wait_filed(again)


def test_drain_that_survives_a_restart_still_holds(tmp_path: Path) -> None:
    """
    The file keeps its attempt.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        job = bench.take()
        drain(bench)
        bench.report(job, Again(Kind.SIGNAL, "killed", delay=0.02))
        come_due(bench, 1)
    with running(tmp_path) as bench:
        come_due(bench, 1)
        assert (bench.ledger.in_hand(), bench.ledger.waiting) == (0, 1)
        go_on(bench)
        again = bench.take()
        assert (again.number, again.attempt) == (1, 2)
        bench.report(again)
        bench.wait_filed(again)


def test_drain_that_begins_again_holds_those_that_have_not_gone_on(tmp_path: Path) -> None:
    """
    Lifted and set in one batch, the second word counts.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        job = bench.take()
        drain(bench)
        bench.report(job, Again(Kind.SIGNAL, "killed", delay=0.0))
        come_due(bench, 1)
        with bench.held():
            bench.ledger.set_pause(PauseReason.DRAIN, None)
            bench.ledger.set_pause(PauseReason.DRAIN, "maintenance")
        bench.ledger.change_pause(PauseReason.DISK, None)  # answered after both
        come_due(bench, 1)
        assert (bench.ledger.waiting, bench.live.snapshot().queue_depth) == (1, 0)

        go_on(bench)
        again = bench.take()
        bench.report(again)
        bench.wait_filed(again)


def test_file_without_a_place_in_the_queue_still_waits(tmp_path: Path) -> None:
    """
    It is neither queued nor run.
    """
    with running(tmp_path, look_ahead=1) as bench:
        bench.offer("intent-a.json", "intent-b.json")
        for job in [bench.take(), bench.take()]:
            bench.report(job, Again(Kind.SIGNAL, "killed", delay=0.0))
        wait_until(lambda: bench.live.snapshot().queue_depth == 1)
        wait_until(lambda: bench.ledger.waiting == 1)
        assert bench.live.snapshot().gauges.retry_waiting == 1

        first = bench.take()
        second = bench.take()
        bench.report(first)
        bench.report(second)
        bench.wait_filed(first, second)
        assert {first.number, second.number} == {1, 2}
