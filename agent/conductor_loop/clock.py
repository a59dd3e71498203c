"""
The wall clock. Moments are whole microseconds since 1970 in UTC; durations are seconds by the monotonic clock.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

SECOND = 1_000_000  #: microseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_us() -> int:
    """
    Return the present moment.
    """
    return time.time_ns() // 1000


def to_datetime(moment_us: int) -> datetime:
    """
    Return `moment_us` as an aware UTC datetime.
    """
    return _EPOCH + timedelta(microseconds=moment_us)


def rfc3339(moment_us: int) -> str:
    """
    Return `moment_us` as `2026-11-23T07:43:18Z`, whole seconds.
    """
    return _texts(moment_us // SECOND)[0]


def compact(moment_us: int) -> str:
    """
    Return `moment_us` as `20261123-074318`, the form used in names of status files.
    """
    return _texts(moment_us // SECOND)[1]


@lru_cache(maxsize=4)  # every file asks for both, and most ask for the second that the one before asked for
def _texts(second: int) -> tuple[str, str]:
    moment = to_datetime(second * SECOND)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ"), moment.strftime("%Y%m%d-%H%M%S")


def duration_text(seconds: float) -> str:
    """
    Return a duration as `2h15m30s`, `1.5s`, `250ms` or `0s`: the form of Go's time.Duration, to the millisecond.

    Raises:
        ValueError: for a negative or non-finite duration.
    """
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"not a duration: {seconds!r}")
    millis = round(seconds * 1000)
    if millis < 1000:  # noqa: PLR2004 - below one second
        return f"{millis}ms" if millis else "0s"
    whole, rest = divmod(millis, 1000)
    minutes, secs = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    tail = f"{secs}.{rest:03d}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{tail}"
    return f"{minutes}m{tail}" if minutes else tail
