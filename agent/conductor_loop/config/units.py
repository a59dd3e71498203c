"""
Durations and sizes as people write them: `2h15m`, `500ms`, `25mo`, `64KiB`, `10MB`.
"""

from __future__ import annotations

import re
from decimal import Decimal

#: Seconds of each unit, greatest first. A year is 365 days and a month its twelfth, so that 12mo = 1y.
DURATION_UNITS = {
    "y": Decimal(31_536_000),
    "mo": Decimal(2_628_000),
    "d": Decimal(86_400),
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
}

#: Bytes of each unit; the binary ones greatest first, as `format_size` tries them in this order.
SIZE_UNITS = {
    "TiB": 1 << 40,
    "GiB": 1 << 30,
    "MiB": 1 << 20,
    "KiB": 1 << 10,
    "TB": 10**12,
    "GB": 10**9,
    "MB": 10**6,
    "kB": 10**3,
    "KB": 10**3,
    "B": 1,
}

_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_DURATION_PART = re.compile(_NUMBER + "(y|mo|d|h|ms|m|s)")
_SIZE = re.compile(_NUMBER + " ?([A-Za-z]*)")
_LONGEST = 64  # no honest value is longer; keeps the arithmetic below small


def parse_duration(text: str) -> float:
    """
    Return the seconds that `text` means; a bare `0` needs no unit.

    Raises:
        ValueError: saying what is wrong with it.
    """
    if text == "0":
        return 0.0
    total, rank, end = Decimal(0), -1, 0
    for part in _DURATION_PART.finditer(text[:_LONGEST]):
        if part.start() != end:
            break
        place = list(DURATION_UNITS).index(part[2])
        if place <= rank:
            raise ValueError("the units are not in order, greatest first and each once")
        total, rank, end = total + Decimal(part[1]) * DURATION_UNITS[part[2]], place, part.end()
    if end == 0 or end != len(text):
        raise ValueError("a number without its unit" if _is_number(text) else "not a duration")
    return float(total)


def format_duration(seconds: float) -> str:
    """
    Return the shortest usual text for a duration; `parse_duration` reads it back as the same number.
    """
    total = Decimal(repr(seconds))
    if not total:
        return "0"
    if total < 1:
        return f"{_plain(total * 1000)}ms"
    for unit in ("y", "mo"):
        if total % DURATION_UNITS[unit] == 0:
            return f"{_plain(total / DURATION_UNITS[unit])}{unit}"
    text = ""
    for unit in ("d", "h", "m"):
        count, total = divmod(total, DURATION_UNITS[unit])
        text += f"{_plain(count)}{unit}" if count else ""
    return text + (f"{_plain(total)}s" if total else "")


def parse_size(text: str) -> int:
    """
    Return the bytes that `text` means; without a unit they are bytes.

    Raises:
        ValueError: saying what is wrong with it.
    """
    found = _SIZE.fullmatch(text)
    if not found or len(text) > _LONGEST:
        raise ValueError("not a size")
    if found[2] not in SIZE_UNITS and found[2]:
        raise ValueError(f"{found[2]!r} is no unit of size")
    size = Decimal(found[1]) * SIZE_UNITS.get(found[2], 1)
    if size != size.to_integral_value():
        raise ValueError("not a whole number of bytes")
    return int(size)


def format_size(size_bytes: int) -> str:
    """
    Return the shortest exact text for a size; `parse_size` reads it back as the same number.
    """
    if not size_bytes:
        return "0"
    unit, factor = next((unit, factor) for unit, factor in SIZE_UNITS.items() if size_bytes % factor == 0)
    return f"{size_bytes // factor}{unit}"


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _is_number(text: str) -> bool:
    return re.fullmatch(_NUMBER, text) is not None
