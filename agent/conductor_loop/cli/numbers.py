"""
What the agent's numbers say, for people; `status` and `top` show the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from conductor_loop import clock

Metrics = Mapping[str, Any]  #: the document of `/metrics`
Row = tuple[str, str]
_KIB = 1024


def describe(metrics: Metrics) -> Iterator[Row]:
    """
    Yield name and words of each fact; an agent of another version may lack some.
    """
    for name, words in _FACTS.items():
        with suppress(KeyError):
            said = words(metrics)
            if said:
                yield name, said


def size(count: float) -> str:
    """
    Return a number of bytes as text, such as "46 MiB".
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < _KIB:
            return f"{count:.0f} {unit}"
        count /= _KIB
    return f"{count:.1f} TiB"


def _workers(metrics: Metrics) -> str:
    workers = metrics["workers"]
    return f"{workers['active_workers']} of {workers['max_workers']} busy"


def _queue(metrics: Metrics) -> str:
    workers = metrics["workers"]
    return (
        f"{workers['handoff_files']} not taken yet, {workers['queue_depth']} ready to run, "
        f"{workers['retry_waiting']} waiting for another attempt"
    )


def _throughput(metrics: Metrics) -> str:
    return f"{metrics['performance']['throughput_files_per_sec']:.2f} files/s in the last minute"


def _run_time(metrics: Metrics) -> str:
    done = metrics["performance"]
    percentiles = (
        f"p{name} {'-' if seconds is None else clock.duration_text(seconds)}"
        for name, seconds in done["latency_percentiles"].items()
    )
    return f"{', '.join(percentiles)}, average {done['average_processing_time']}"


def _totals(metrics: Metrics) -> str:
    done = metrics["performance"]
    return (
        f"processed {done['files_processed_total']}, failed {done['files_failed_total']}, "
        f"rejected {done['validation_failures_total']}"
    )


def _attempts(metrics: Metrics) -> str:
    repeated, late = metrics["performance"]["retry_attempts_total"], metrics["errors"]["timeout_count"]
    return f"repeated {repeated}, ended by the time limit {late}"


def _kinds(key: str) -> Callable[[Metrics], str]:
    return lambda metrics: ", ".join(f"{kind} {count}" for kind, count in metrics["errors"][key].items())


def _resources(metrics: Metrics) -> str:
    used = metrics["resources"]
    return (
        f"disk free {size(used['disk_free_bytes'])}, memory {size(used['memory_usage_bytes'])}, "
        f"CPU {used['cpu_percent']:.1f} %, threads {used['thread_count']}, "
        f"descriptors {used['file_descriptor_count']}"
    )


_FACTS: Mapping[str, Callable[[Metrics], str]] = {
    "workers": _workers,
    "queue": _queue,
    "throughput": _throughput,
    "run time": _run_time,
    "files": _totals,
    "attempts": _attempts,
    "failed": _kinds("processing_errors_by_type"),
    "rejected": _kinds("validation_errors_by_type"),
    "resources": _resources,
}
