"""
Whether a failed attempt is repeated, and when: pure.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from conductor_loop.model import Kind

_MOST_DOUBLINGS = 60  #: beyond every sensible longest delay, and far from what overflows a float


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """
    The rules of retrying.
    """

    max_attempts: int
    give_up_after: float  #: seconds since the claim; no attempt is begun for a failure later than that
    initial_delay: float  #: seconds
    max_delay: float  #: seconds
    retry_exit_codes: frozenset[int] = frozenset()

    def decide(
        self,
        kind: Kind,
        *,
        exit_code: int | None,
        attempt: int,
        waited_seconds: float,
        rng: random.Random,
        asked: bool = False,
        asked_delay: float | None = None,
    ) -> float | None:
        """
        Return the seconds until the next attempt, or None if there is none.

        The delay is drawn evenly between 0 and a bound that doubles with every attempt (full jitter), so that
        files that failed together do not come back together.

        Args:
            attempt: the number of the one that failed, 1 for the first.
            waited_seconds: since the claim.
            asked: the handler itself asked for another attempt.
            asked_delay: the seconds after which it wants it; still held to `max_delay`.
        """
        if not self.repeats(kind, exit_code=exit_code, asked=asked):
            return None
        if attempt >= self.max_attempts or waited_seconds >= self.give_up_after:
            return None
        if asked_delay is not None:
            return min(max(asked_delay, 0.0), self.max_delay)
        bound = self.initial_delay * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS)
        return rng.uniform(0.0, min(bound, self.max_delay))

    def repeats(self, kind: Kind, *, exit_code: int | None, asked: bool = False) -> bool:
        """
        Tell whether there is another attempt after such a failure, as long as attempts and time last.
        """
        if asked:
            return True
        if kind is Kind.COMMAND_FAILED:
            return exit_code in self.retry_exit_codes
        return kind in (Kind.TIMEOUT, Kind.SIGNAL)
