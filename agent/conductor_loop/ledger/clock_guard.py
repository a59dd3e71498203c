"""
Whether what is old by the wall clock is old: a clock that was set wrong makes everything look so.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping

from conductor_loop import clock
from conductor_loop.metrics.live import Live

log = logging.getLogger(__name__)

_MOST_SECONDS = 86_400.0  #: that the clock may move by, and an agent may be off, before nobody trusts it
_HOLD_SECONDS = 86_400.0  #: of running, in which somebody notices and sets the clock right
_SEEN_AT = ("clock", "seen_at")
_HELD_SECONDS = ("clock", "held_seconds")


def _uptime() -> float:
    # Unlike time.monotonic it goes on while the machine is suspended, which is no move of the wall clock.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class ClockGuard:
    """
    Compares the wall clock with what it was, now and at the end of the agent before; any thread may ask.

    The moment last seen and what is left of a hold are kept in the durable counters, in one commit: neither a
    restart nor a crash shortens a hold. Samples cannot tell, for the highest of their moments need not be the last.

    Args:
        totals: the durable counters as the store has them.
        live: shows that nothing is deleted, which makes the agent degraded.
        now: the wall clock in microseconds; a parameter for tests.
        uptime: seconds by a clock that nobody sets; a parameter for tests.
    """

    def __init__(
        self,
        *,
        totals: Mapping[tuple[str, str], int],
        live: Live,
        now: Callable[[], int] = clock.now_us,
        uptime: Callable[[], float] = _uptime,
    ) -> None:
        self._live = live
        self._now = now
        self._uptime = uptime
        self._lock = threading.Lock()
        #: the wall clock's lead over the other one; at first what it was when the agent before saw it
        self._lead = totals.get(_SEEN_AT, now()) / clock.SECOND - uptime()
        self._ends_at = uptime() + totals.get(_HELD_SECONDS, 0)

    def held(self) -> float:
        """
        Look at the clocks; return the seconds in which nothing may be deleted yet, 0 if it may.
        """
        with self._lock:
            uptime = self._uptime()
            lead = self._now() / clock.SECOND - uptime
            moved = lead - self._lead
            if abs(moved) > _MOST_SECONDS:
                self._lead = lead
                self._ends_at = uptime + _HOLD_SECONDS
                _say(moved)
            left = max(0.0, self._ends_at - uptime)
        self._live.warn("clock", _message(left) if left else None)
        return left

    def values(self) -> dict[tuple[str, str], int]:
        """
        Return the durable counters that the next start needs.
        """
        return {_HELD_SECONDS: math.ceil(self.held()), _SEEN_AT: self._now()}


def _say(moved: float) -> None:
    log.warning(
        "the clock is %s %s than when the agent last saw it; nothing is deleted for %s of running",
        clock.duration_text(round(abs(moved))),
        "later" if moved > 0 else "earlier",
        clock.duration_text(_HOLD_SECONDS),
    )


def _message(left: float) -> str:
    # In whole minutes, rounded up: a message that changes with every look is none.
    return (
        "the clock moved by more than a day, or the agent was off that long: "
        f"nothing is deleted for another {clock.duration_text(math.ceil(left / 60) * 60)}"
    )
