"""
The rule of the clock: what looks old because somebody set the clock wrong is not deleted.
"""

from __future__ import annotations

import logging

import pytest

from conductor_loop import clock
from conductor_loop.ledger.clock_guard import ClockGuard
from conductor_loop.metrics import verdict
from conductor_loop.metrics.live import Live

DAY = 86_400
START = 1_795_000_000


class Machine:
    """
    Two clocks that the test sets, and the counters that outlast a restart.
    """

    def __init__(self) -> None:
        self.wall = float(START)
        self.up = 500.0
        self.totals: dict[tuple[str, str], int] = {}
        self.live = Live(max_workers=1, command_name="porch")

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.up += seconds

    def start(self) -> ClockGuard:
        return ClockGuard(
            totals=self.totals,
            live=self.live,
            now=lambda: round(self.wall * clock.SECOND),
            uptime=lambda: self.up,
        )

    def warning(self) -> str | None:
        return self.live.snapshot().warnings.get("clock")


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_a_first_start_and_small_moves_hold_nothing(machine: Machine) -> None:
    """
    Summer time, a slow clock, 23 hours back.
    """
    guard = machine.start()

    assert guard.held() == 0
    for moved in (3600, -3600, -23 * 3600, 23 * 3600):
        machine.wall += moved
        assert guard.held() == 0
    machine.pass_time(100 * DAY)
    assert guard.held() == 0
    assert machine.warning() is None


@pytest.mark.parametrize("moved", [DAY + 1, -DAY - 1, 3650 * DAY])
def test_a_move_by_more_than_a_day_holds_for_a_day(
    machine: Machine, moved: int, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It is said once in the log, shown as a warning with the time that is left, and degrades.
    """
    guard = machine.start()
    guard.held()
    machine.wall += moved
    with caplog.at_level(logging.WARNING):
        assert guard.held() == DAY
        machine.pass_time(DAY - 3600)
        assert guard.held() == 3600
    found = verdict.assess(machine.live.snapshot())

    assert caplog.text.count("than when the agent last saw it") == 1
    assert ("later" if moved > 0 else "earlier") in caplog.text
    assert "another 1h0m0s" in (machine.warning() or "")
    assert found.components["state_manager"].state == found.status == "degraded"

    machine.pass_time(3600)
    assert guard.held() == 0
    assert machine.warning() is None
    assert verdict.assess(machine.live.snapshot()).status == "healthy"


def test_moves_add_up(machine: Machine) -> None:
    """
    A clock that is set in two steps is set as far.
    """
    guard = machine.start()
    machine.wall += 13 * 3600
    assert guard.held() == 0
    machine.wall += 13 * 3600
    assert guard.held() == DAY


@pytest.mark.parametrize(("off", "held"), [(DAY - 60, 0), (DAY + 60, DAY), (-DAY - 60, DAY)])
def test_the_clock_is_compared_with_the_agent_before(machine: Machine, off: int, held: int) -> None:
    """
    Whether the machine was off or its clock was set cannot be told; both hold.
    """
    machine.totals = machine.start().values()
    machine.wall += off
    machine.up = 10.0

    assert machine.start().held() == held


def test_neither_restart_nor_crash_shortens_a_hold(machine: Machine) -> None:
    """
    Only running does.
    """
    machine.totals = machine.start().values()
    machine.wall += 3650 * DAY
    machine.totals = machine.start().values()
    machine.up = 10.0
    guard = machine.start()

    assert guard.held() == DAY
    machine.pass_time(20 * 3600)
    machine.totals = guard.values()
    machine.up = 10.0
    assert machine.start().held() == 4 * 3600


def test_a_clock_that_is_set_right_again_holds_anew(machine: Machine) -> None:
    """
    Nobody knows which of the two was right.
    """
    guard = machine.start()
    machine.wall += 10 * DAY
    guard.held()
    machine.pass_time(3600)
    machine.wall -= 10 * DAY

    assert guard.held() == DAY
