from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor_loop.model import Kind
from conductor_loop.work.retry import RetryPolicy

POLICY = RetryPolicy(
    max_attempts=10,
    give_up_after=3600.0,
    initial_delay=1.0,
    max_delay=300.0,
    retry_exit_codes=frozenset({75}),
)


def decide(kind: Kind = Kind.TIMEOUT, policy: RetryPolicy = POLICY, **changes: Any) -> float | None:
    given_ = {"exit_code": None, "attempt": 1, "waited_seconds": 0.0, "rng": random.Random(1)}
    return policy.decide(kind, **(given_ | changes))


class Highest(random.Random):
    """
    Draws the upper bound.
    """

    def uniform(self, a: float, b: float) -> float:
        return b


@pytest.mark.parametrize(
    ("kind", "changes", "again"),
    [
        (Kind.TIMEOUT, {}, True),
        (Kind.SIGNAL, {}, True),
        (Kind.COMMAND_FAILED, {"exit_code": 75}, True),
        (Kind.COMMAND_FAILED, {"exit_code": 1}, False),
        (Kind.COMMAND_FAILED, {"exit_code": None}, False),
        (Kind.HANDLER_ERROR, {}, False),
        (Kind.HANDLER_ERROR, {"asked": True}, True),
        (Kind.TIMEOUT, {"attempt": 9}, True),
        (Kind.TIMEOUT, {"attempt": 10}, False),
        (Kind.TIMEOUT, {"waited_seconds": 3599.0}, True),
        (Kind.TIMEOUT, {"waited_seconds": 3600.0}, False),
        (Kind.HANDLER_ERROR, {"asked": True, "attempt": 10}, False),
        (Kind.HANDLER_ERROR, {"asked": True, "asked_delay": 1.0, "waited_seconds": 4000.0}, False),
    ],
)
def test_what_is_repeated(kind: Kind, changes: dict[str, Any], again: bool) -> None:
    """
    Timeouts, signals, listed exit codes and what the handler asks for; until attempts or time are used up.
    """
    assert again is (decide(kind, **changes) is not None)


def test_the_bound_doubles_up_to_the_longest_delay() -> None:
    """
    1, 2, 4 ... 256, 300 seconds.
    """
    bounds = [decide(attempt=n, rng=Highest()) for n in range(1, 10)]

    assert bounds == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert (
        decide(
            attempt=10,
            rng=Highest(),
            policy=RetryPolicy(max_attempts=99, give_up_after=1, initial_delay=1, max_delay=300),
        )
        == 300
    )


def test_delays_are_spread_over_the_whole_range() -> None:
    """
    Full jitter: files that failed together do not come back together.
    """
    rng = random.Random(1)
    delays = [decide(attempt=5, rng=rng) or 0.0 for _ in range(1000)]

    assert min(delays) < 1
    assert max(delays) > 15
    assert 7 < sum(delays) / len(delays) < 9


@pytest.mark.parametrize(
    ("asked", "delay"), [(0.0, 0.0), (5.0, 5.0), (1e9, 300.0), (float("inf"), 300.0), (-1.0, 0.0)]
)
def test_the_delay_that_a_handler_asks_for_is_held_to_the_limits(asked: float, delay: float) -> None:
    """
    Never negative, never beyond the longest delay.
    """
    assert delay == decide(Kind.HANDLER_ERROR, asked=True, asked_delay=asked)


@settings(deadline=None)
@given(
    kind=st.sampled_from(Kind),
    failed=st.fixed_dictionaries(
        {
            "exit_code": st.none() | st.integers(0, 255),
            "attempt": st.integers(1, 10_000),
            "waited_seconds": st.floats(0, 1e9),
            "rng": st.randoms(use_true_random=False),
            "asked": st.booleans(),
            "asked_delay": st.none() | st.floats(allow_nan=False),
        }
    ),
    initial=st.floats(0, 1e6),
    longest=st.floats(0, 1e6),
)
def test_a_delay_is_never_outside_its_limits(
    kind: Kind, failed: dict[str, Any], initial: float, longest: float
) -> None:
    """
    Whatever the attempt's number; and nothing is repeated after the last one.
    """
    policy = RetryPolicy(
        max_attempts=9_999,
        give_up_after=3600.0,
        initial_delay=initial,
        max_delay=longest,
        retry_exit_codes=frozenset({75}),
    )

    delay = policy.decide(kind, **failed)

    assert delay is None or 0 <= delay <= longest
    if failed["attempt"] >= 9_999 or failed["waited_seconds"] >= 3600.0:
        assert delay is None
