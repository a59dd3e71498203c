"""
What `top` shows: the agent's documents as lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from conductor_loop.cli.files_list import HEADS, row
from conductor_loop.cli.pauses import told
from conductor_loop.cli.status import explain
from conductor_loop.cli.terminal import COLOURS, cut, plain, table
from conductor_loop.model import Outcome

VERDICTS = {"healthy": "green", "degraded": "yellow", "unhealthy": "red"}
_BAR = 20  # characters
_KIB = 1024


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
    lines = [*_state(facts.health), *_numbers(facts.metrics), Line(""), *_files(facts.files)]
    return [Line(cut(plain(line.text), width), line.colour) for line in lines]


def _state(health: Mapping[str, Any]) -> Iterator[Line]:
    status = str(health["status"])
    yield Line(f"conductor-loop {health['version']}  {status}  up {health['uptime']}", VERDICTS.get(status))
    for name, words in explain(dict(health)):
        yield Line(f"{name:<12}  {words}", "yellow")
    if health["details"]["paused"]:
        yield from (Line(line, "yellow") for line in told(health["details"]["paused"]).splitlines())


def _numbers(metrics: Mapping[str, Any]) -> Iterator[Line]:
    done, workers, used = metrics["performance"], metrics["workers"], metrics["resources"]
    filled = round(_BAR * workers["worker_utilization"] / 100)
    yield _fact(
        "workers",
        f"[{'#' * filled:.<{_BAR}}] {workers['active_workers']} of {workers['max_workers']} busy",
    )
    yield _fact("queue", f"{workers['queue_depth']} ready to run")
    yield _fact("throughput", f"{done['throughput_files_per_sec']:.2f} files/s in the last minute")
    yield _fact("seconds", _latency(done))
    yield _fact("files", _totals(done, metrics["errors"]))
    for title, kinds in _errors(metrics["errors"]):
        yield _fact(title, ", ".join(f"{kind} {count}" for kind, count in kinds.items()))
    yield _fact(
        "resources",
        f"memory {_bytes(used['memory_usage_bytes'])}, CPU {used['cpu_percent']:.1f} %, "
        f"threads {used['thread_count']}, descriptors {used['file_descriptor_count']}, "
        f"disk free {_bytes(used['disk_free_bytes'])}",
    )


def _fact(name: str, words: str) -> Line:
    return Line(f"{name:<12}  {words}")


def _latency(done: Mapping[str, Any]) -> str:
    percentiles = (
        f"p{name} {'-' if value is None else f'{value:.3f}'}"
        for name, value in done["latency_percentiles"].items()
    )
    return f"{', '.join(percentiles)}, average {done['average_processing_time']}"


def _totals(done: Mapping[str, Any], errors: Mapping[str, Any]) -> str:
    return (
        f"processed {done['files_processed_total']}, failed {done['files_failed_total']}, "
        f"rejected {done['validation_failures_total']}; repeated attempts {done['retry_attempts_total']}, "
        f"timeouts {errors['timeout_count']}"
    )


def _errors(errors: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, int]]]:
    for title, key in (("failed", "processing_errors_by_type"), ("rejected", "validation_errors_by_type")):
        if errors[key]:
            yield title, errors[key]


def _files(files: list[dict[str, Any]]) -> Iterator[Line]:
    if not files:
        yield Line("no files yet")
        return
    heads, *lines = table(HEADS, [row(file) for file in files], width=None).splitlines()
    yield Line(heads)
    for file, line in zip(files, lines, strict=True):
        yield Line(line, COLOURS[Outcome(file["outcome"])] if file["outcome"] else None)


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < _KIB:
            return f"{count:.0f} {unit}"
        count /= _KIB
    return f"{count:.1f} TiB"
