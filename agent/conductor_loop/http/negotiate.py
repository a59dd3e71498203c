"""
Which form of the metrics a client asks for.

JSON is what `/metrics` answers, so a Prometheus type must be named to win: a wildcard never does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from conductor_loop.metrics.prometheus import Format

_OPENMETRICS = "application/openmetrics-text"
_TEXT = "text/plain"
_PROTOBUF = (
    "application/vnd.google.protobuf"  # not written here: who names only this gets text, as RFC 9110 allows
)
_PROMETHEUS = (_OPENMETRICS, _TEXT, _PROTOBUF)

_RANGE = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+')  # quoted strings may hold commas
_QUALITY = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")


@dataclass(frozen=True, slots=True)
class MediaRange:
    """
    One element of an `Accept` header.
    """

    type: str
    version: str
    quality: float


def wants_prometheus(accept: str) -> bool:
    """
    Tell whether a Prometheus type is named with a higher quality than JSON.

    Args:
        accept: the header's value, "" where there is none.
    """
    ranges = list(parse(accept))
    return _best(ranges, _PROMETHEUS) > _best(ranges, ("application/json",))


def prometheus_format(accept: str) -> Format:
    """
    Return OpenMetrics 1.0 if it is named and not liked less than text; text otherwise.

    A version that is not written here (OpenMetrics 0.0.1 and 2.0) counts as not named.
    """
    ranges = list(parse(accept))
    known = [one for one in ranges if one.type == _OPENMETRICS and one.version in {"", "1.0.0"}]
    wanted = _best(known, (_OPENMETRICS,))
    return Format.OPENMETRICS if wanted and wanted >= _best(ranges, (_TEXT,)) else Format.TEXT


def parse(accept: str) -> Iterator[MediaRange]:
    """
    Yield the elements of an `Accept` header; malformed ones are left out.
    """
    for element in _RANGE.findall(accept):
        media, *parameters = (part.strip().lower() for part in element.split(";"))
        values = dict(_split(parameter) for parameter in parameters)
        quality = values.get("q", "1")
        if "/" in media and _QUALITY.fullmatch(quality):
            yield MediaRange(media, values.get("version", ""), float(quality))


def _split(parameter: str) -> tuple[str, str]:
    name, _, value = parameter.partition("=")
    return name.strip(), value.strip().strip('"')


def _best(ranges: list[MediaRange], types: tuple[str, ...]) -> float:
    return max((one.quality for one in ranges if one.type in types), default=0.0)
