"""
What `top` shows: the agent's documents as lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from conductor_loop.cli.files_table import file_lines
from conductor_loop.cli.health import LASTING_WARNINGS
from conductor_loop.cli.numbers import describe
from conductor_loop.cli.status import verdict_rows
from conductor_loop.cli.terminal import COLOURS, columns, cut, plain

VERDICTS = {"healthy": "green", "degraded": "yellow", "unhealthy": "red"}
_BAR = 20  # characters


class Line(NamedTuple):
    """
    One line and its colour, if it has one.
    """

    text: str
    colour: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What the agent said at one moment.
    """

    health: Mapping[str, Any]
    metrics: Mapping[str, Any]
    files: list[dict[str, Any]]  #: the last ones, newest first


def draw(facts: Facts, *, width: int | None) -> list[Line]:
    """
    Return the picture of one moment.

    Args:
        width: where lines are cut; None for not at all.
    """
    lines = [_title(facts.health), *_facts(facts), Line(""), *_files(facts.files, width)]
    return [Line(cut(plain(line.text), width), line.colour) for line in lines]


def _title(health: Mapping[str, Any]) -> Line:
    name, status = health.get("agent", "agent"), str(health["status"])
    words = f"{name}  {status}  up {health['uptime']}  conductor-loop {health['version']}"
    return Line(words, VERDICTS.get(status))


def _facts(facts: Facts) -> Iterator[Line]:
    found = verdict_rows(facts.health, without=LASTING_WARNINGS)
    wrong = [(name.strip(), plain(str(words))) for name, words in found]
    lines = columns([*wrong, *_numbers(facts.metrics)]).splitlines()
    yield from (Line(line, "yellow") for line in lines[: len(wrong)])
    yield from map(Line, lines[len(wrong) :])


def _numbers(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    filled = round(_BAR * metrics["workers"]["worker_utilization"] / 100)
    for name, words in describe(metrics):
        yield name, f"[{'#' * filled:.<{_BAR}}] {words}" if name == "workers" else words


def _files(files: list[dict[str, Any]], width: int | None) -> Iterator[Line]:
    if not files:
        yield Line("no files yet")
        return
    heads, *lines = file_lines(files, width=width)
    yield Line(heads)
    for file, line in zip(files, lines, strict=True):
        yield Line(line, COLOURS[file["outcome"]] if file["outcome"] else None)
