"""
The classic histogram buckets of processing and waiting times.
"""

from __future__ import annotations

import bisect
import math

#: Upper bounds in seconds, inclusive. Rows of the store name a bucket by its index here: never move one.
BOUNDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    3600.0,
    math.inf,
)


def index(seconds: float) -> int:
    """
    Return the index of the bucket that holds `seconds`.
    """
    return bisect.bisect_left(BOUNDS, seconds)
