"""
Moments as people write them: `1h` ago, a day, or RFC 3339.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from conductor_loop import clock
from conductor_loop.config import parse_duration

_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d"  # day
    r"([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?",  # time and zone
    re.ASCII | re.IGNORECASE,
)
_RIGHT = (
    'write how long ago, such as "30m", "1h" or "7d", or a time in UTC, such as "2026-11-23", "2026-11-23 07:43" '
    'or "2026-11-23T07:43:18Z"'
)


def parse_moment(text: str, *, now_us: int) -> str:
    """
    Return the moment that `text` means, in RFC 3339 and UTC; without a zone it is in UTC already.

    Args:
        now_us: where durations count back from.

    Raises:
        ValueError: saying what is wrong and what would be right.
    """
    try:
        moment = _absolute(text) if _MOMENT.fullmatch(text) else _ago(text, now_us)
    except (ValueError, OverflowError) as exc:
        raise ValueError(f"{text!r} is no time: {exc}; {_RIGHT}") from exc
    return moment.isoformat().replace("+00:00", "Z")


def _absolute(text: str) -> datetime:
    moment = datetime.fromisoformat(text.upper())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _ago(text: str, now_us: int) -> datetime:
    return clock.to_datetime(now_us - round(parse_duration(text) * clock.SECOND))
