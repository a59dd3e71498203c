"""
The durable counters, their buckets, rates and percentiles.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor_loop.metrics import buckets, counting
from conductor_loop.metrics.percentile import nearest_rank
from conductor_loop.metrics.rate import Rate
from conductor_loop.model import Kind, Outcome
from scenario import ended


def test_a_processed_file_changes_outcome_sums_and_buckets():
    """
    All durable numbers of a file that ran change, and their keys are told.
    """
    totals: dict[counting.Key, int] = {("outcomes", "processed/"): 4}

    changed = counting.count(totals, ended(1, Outcome.PROCESSED, None, 0.25, 1.5))

    expected = {
        ("outcomes", "processed/"): 5,
        ("duration_us", ""): 250_000,
        ("processing_us", ""): 250_000,
        ("processing_bucket", str(buckets.BOUNDS.index(0.25))): 1,
        ("wait_us", ""): 1_500_000,
        ("wait_bucket", str(buckets.BOUNDS.index(2.5))): 1,
    }
    assert expected == totals
    assert set(expected) == changed


@pytest.mark.parametrize(
    ("outcome", "kind"), [(Outcome.REJECTED, Kind.EMPTY), (Outcome.VANISHED, Kind.VANISHED)]
)
def test_a_file_that_never_ran_changes_its_outcome_only(outcome: Outcome, kind: Kind):
    """
    Rejected and vanished files stay out of the times, even if somebody gives them some.
    """
    totals: dict[counting.Key, int] = {}

    changed = counting.count(totals, ended(1, outcome, kind, 1.0, 1.0))

    assert {("outcomes", f"{outcome}/{kind}"): 1} == totals
    assert set(totals) == changed


def test_a_wait_is_never_negative():
    """
    A wall clock that stepped back between discovery and start does not make a counter fall.
    """
    totals: dict[counting.Key, int] = {}

    counting.count(totals, ended(1, Outcome.FAILED, Kind.TIMEOUT, 0.1, -7.0))

    assert totals[counting.WAIT_SUM] == 0
    assert totals[counting.bucket_key("wait", 0)] == 1


@given(st.floats(min_value=0, allow_nan=False))
def test_every_duration_has_the_lowest_bucket_that_holds_it(seconds: float):
    """
    A bucket's upper bound is inclusive, and the last bucket holds everything.
    """
    place = buckets.index(seconds)

    assert seconds <= buckets.BOUNDS[place]
    assert place == 0 or seconds > buckets.BOUNDS[place - 1]


def test_bucket_bounds_have_not_moved():
    """
    Stored rows name buckets by their place, so the list may only change with a migration.
    """
    expected = (
        *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
        *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, math.inf),
    )

    assert expected == buckets.BOUNDS


def test_a_rate_forgets_what_is_older_than_a_minute():
    """
    Events count for sixty seconds and no longer.
    """
    rate = Rate()
    rate.add(30, 100.9)
    rate.add(30, 130.0)

    assert rate.per_second(131.0) == 1.0
    assert rate.per_second(159.9) == 1.0
    assert rate.per_second(160.0) == 0.5
    assert rate.per_second(190.0) == 0.0
    assert rate.per_second(10_000.0) == 0.0


def test_a_rate_reuses_its_bins():
    """
    A bin that held an older second begins at zero.
    """
    rate = Rate()
    rate.add(600, 7.0)
    rate.add(60, 67.0)

    assert rate.per_second(67.0) == 1.0


def test_a_percentile_is_always_a_measured_value():
    """
    Nearest rank: at least that share of the values is not above it.
    """
    values = [float(value) for value in range(1, 101)]

    assert [nearest_rank(values, percent) for percent in (0, 1, 50, 95, 99, 100)] == [1, 1, 50, 95, 99, 100]
    assert nearest_rank([3.0], 50) == 3.0
    assert nearest_rank([1.0, 9.0], 50) == 1.0
    assert nearest_rank([1.0, 9.0], 51) == 9.0
    assert nearest_rank([], 50) is None


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.1, 100))
def test_nearest_rank_keeps_its_definition(values: list[float], percent: float):
    """
    The value is the smallest of those that at least `percent` of all do not exceed.
    """
    values.sort()
    found = nearest_rank(values, percent)

    assert found is not None
    assert sum(value <= found for value in values) >= len(values) * percent / 100
    below = [value for value in values if value < found]
    assert not below or len(below) < len(values) * percent / 100
