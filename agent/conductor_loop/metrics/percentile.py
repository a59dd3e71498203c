"""
Exact percentiles of a few numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def nearest_rank(ordered: Sequence[float], percent: float) -> float | None:
    """
    Return the smallest value that at least `percent` of all do not exceed: always one that was measured.

    Args:
        ordered: ascending.

    Returns:
        None where there are no values.
    """
    if not ordered:
        return None
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(rank, 1) - 1]
