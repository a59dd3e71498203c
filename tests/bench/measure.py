"""
A measured number with its repeats and its target: pure values.
"""

from __future__ import annotations

import enum
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class BenchError(Exception):
    """
    A case could not be measured.
    """


class Judged(enum.StrEnum):
    """
    Which of the repeats is held against the target.
    """

    MEDIAN = "median"
    WORST = "worst"  #: for what must never happen, such as a lost file


@dataclass(frozen=True, slots=True)
class Target:
    """
    What is to be reached.
    """

    bound: float
    at_least: bool  #: else at most
    judged: Judged = Judged.MEDIAN

    def met_by(self, values: Sequence[float]) -> bool:
        if self.judged is Judged.WORST:
            value = min(values) if self.at_least else max(values)
        else:
            value = statistics.median(values)
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {number_text(self.bound)}"


def at_least(bound: float, judged: Judged = Judged.MEDIAN) -> Target:
    """
    Return the target of staying at or above `bound`.
    """
    return Target(bound, at_least=True, judged=judged)


def at_most(bound: float, judged: Judged = Judged.MEDIAN) -> Target:
    """
    Return the target of staying at or below `bound`.
    """
    return Target(bound, at_least=False, judged=judged)


@dataclass(frozen=True, slots=True)
class Measure:
    """
    One line of the report.

    Raises:
        BenchError: without a finite value: a report must not show a number that was not measured.
    """

    case: str
    what: str
    unit: str
    values: tuple[float, ...]  #: one per repeat, in the order of measuring
    target: Target | None = None  #: None for a number that explains others

    def __post_init__(self) -> None:
        if not self.values or not all(math.isfinite(value) for value in self.values):
            raise BenchError(f"{self.case}: {self.what}: nothing measured: {self.values}")

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.target.met_by(self.values)


def percentile(values: Iterable[float], percent: float) -> float:
    """
    Return the smallest value that `percent` of all values do not exceed (nearest rank).

    Raises:
        BenchError: if there are no values.
    """
    ordered = sorted(values)
    if not ordered:
        raise BenchError("no values to take a percentile of")
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]


def number_text(value: float) -> str:
    """
    Return a number to three significant digits, whole from 100 on: `10,243`, `2.31`, `0.0042`.
    """
    magnitude = abs(value)
    if magnitude >= 100 or value == 0:
        return f"{value:,.0f}"
    digits = 2 - math.floor(math.log10(magnitude))
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") if value != int(value) else f"{value:.0f}"
