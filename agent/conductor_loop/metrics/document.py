"""
The JSON document of `GET /metrics`; its keys are a contract.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from conductor_loop import clock
from conductor_loop.metrics.outcomes import by_phrase
from conductor_loop.metrics.snapshot import Snapshot
from conductor_loop.model import Outcome, display_name


class Key(NamedTuple):
    """
    What one key of the document means.
    """

    type: str  #: as JSON Schema names it
    unit: str  #: "" where there is none
    survives: bool | None  #: a restart: it goes on, it begins anew, or (None) it shows how things are now
    meaning: str


def metrics(snapshot: Snapshot) -> dict[str, Any]:
    """
    Return the document of `GET /metrics`.
    """
    return {
        "performance": _performance(snapshot),
        "resources": _resources(snapshot),
        "workers": _workers(snapshot),
        "errors": _errors(snapshot),
        "metadata": _metadata(snapshot),
    }


def encode(document: dict[str, Any]) -> bytes:
    """
    Return a document as strict JSON that a person can read too.

    Raises:
        ValueError: for NaN and infinity, which are no JSON.
    """
    return json.dumps(document, allow_nan=False, indent=2).encode() + b"\n"


def _performance(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "files_processed_total": snapshot.files_processed_total,
        "files_failed_total": snapshot.files_failed_total,
        "validation_failures_total": snapshot.validation_failures_total,
        "retry_attempts_total": snapshot.retry_attempts_total,
        "throughput_files_per_sec": snapshot.throughput_files_per_sec,
        "average_processing_time": clock.duration_text(snapshot.average_processing_time),
        "processing_duration_total_seconds": snapshot.processing_duration_total_seconds,
        "status_files_per_sec": snapshot.status_files_per_sec,
        "latency_percentiles": dict(snapshot.latency_percentiles),
    }


def _resources(snapshot: Snapshot) -> dict[str, Any]:
    sample = snapshot.sample
    free = {display_name(path): size for path, size in sample.disk_free.items()}
    return {
        "memory_usage_bytes": sample.memory_bytes,
        # A number of goroutines there is none; existing dashboards read this key.
        "goroutine_count": sample.threads,
        "thread_count": sample.threads,
        "file_descriptor_count": sample.fds,
        "cpu_percent": sample.cpu_percent,
        "directory_size_bytes": snapshot.gauges.directory_bytes,
        "disk_free_bytes": min(free.values(), default=0),
        "disk_free_bytes_by_path": free,
    }


def _workers(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "max_workers": snapshot.max_workers,
        "active_workers": snapshot.active_workers,
        "worker_utilization": snapshot.worker_utilization,
        "queue_depth": snapshot.queue_depth,
        "handoff_files": snapshot.gauges.handoff_files,
        "retry_waiting": snapshot.gauges.retry_waiting,
        "backpressure_events": snapshot.backpressure_events,
    }


def _errors(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "timeout_count": snapshot.timeout_count,
        "validation_errors_by_type": by_phrase(snapshot, Outcome.REJECTED),
        "processing_errors_by_type": by_phrase(snapshot, Outcome.FAILED, Outcome.VANISHED),
    }


def _metadata(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "timestamp": clock.rfc3339(snapshot.taken_at),
        "uptime": clock.duration_text(int(snapshot.uptime)),
        "store_id": snapshot.store_id,
        "phase": snapshot.phase,
        "watch_mode": snapshot.gauges.watch_mode,
    }


#: What the reference says of each section's keys, in their order.
KEYS: Mapping[str, Mapping[str, Key]] = {
    "performance": {
        "files_processed_total": Key("integer", "files", True, "Files processed."),
        "files_failed_total": Key("integer", "files", True, "Files failed, without rejected ones."),
        "validation_failures_total": Key("integer", "files", True, "Files rejected; none of them ran."),
        "retry_attempts_total": Key("integer", "attempts", True, "Failed attempts that another one follows."),
        "throughput_files_per_sec": Key(
            "number", "files per second", False, "Files processed, failed or rejected, over the last minute."
        ),
        "average_processing_time": Key(
            "string", "duration, such as `250ms`", True, "Mean run time of the last 1,000 files that ran."
        ),
        "processing_duration_total_seconds": Key(
            "number", "seconds", True, "Run time of the last attempts of all files that ran, summed up."
        ),
        "status_files_per_sec": Key(
            "number", "files per second", False, "Status files written, over the last minute."
        ),
        "latency_percentiles": Key(
            "object",
            "seconds",
            True,
            "Run time of the last 1,000 files that ran: the percentiles `50`, `95` and `99`; `null` before the first.",
        ),
    },
    "resources": {
        "memory_usage_bytes": Key("integer", "bytes", None, "Resident memory of the agent."),
        "goroutine_count": Key(
            "integer", "threads", None, "The same as `thread_count`, for older dashboards."
        ),
        "thread_count": Key("integer", "threads", None, "Threads of the agent."),
        "file_descriptor_count": Key("integer", "descriptors", None, "Open descriptors of the agent."),
        "cpu_percent": Key(
            "number", "percent of one core", None, "Use of the processor by the agent, without its commands."
        ),
        "directory_size_bytes": Key(
            "integer", "bytes", None, "Size of the regular files directly in the handoff directory."
        ),
        "disk_free_bytes": Key("integer", "bytes", None, "The smallest value of `disk_free_bytes_by_path`."),
        "disk_free_bytes_by_path": Key(
            "object", "bytes", None, "Free space at `handoff_dir`, `state_dir` and `out_dir`, by their paths."
        ),
    },
    "workers": {
        "max_workers": Key("integer", "files", None, "Files that run at a time at most."),
        "active_workers": Key("integer", "workers", None, "Workers that have a file."),
        "worker_utilization": Key("number", "percent", None, "Share of workers that have a file, 0 to 100."),
        "queue_depth": Key("integer", "files", None, "Files claimed and ready to run."),
        "handoff_files": Key(
            "integer", "files", None, "Files in the handoff directory that match `pattern`, at the last scan."
        ),
        "retry_waiting": Key("integer", "files", None, "Files that wait for their next attempt."),
        "backpressure_events": Key(
            "integer", "times", False, "Ready files began to wait because the look-ahead was full."
        ),
    },
    "errors": {
        "timeout_count": Key("integer", "attempts", True, "Attempts ended by their time limit."),
        "validation_errors_by_type": Key(
            "object", "files", True, "Files rejected, by the phrase of the kind."
        ),
        "processing_errors_by_type": Key(
            "object", "files", True, "Files failed or vanished, by the phrase of the kind."
        ),
    },
    "metadata": {
        "timestamp": Key("string", "RFC 3339, UTC", None, "When this was read."),
        "uptime": Key("string", "duration, such as `2h15m30s`", False, "Time since the agent was started."),
        "store_id": Key("string", "", True, "Name of the database; ids of files begin with it."),
        "phase": Key("string", "", None, "`starting`, `recovering`, `running` or `stopping`."),
        "watch_mode": Key(
            "string", "", None, "How new files are noticed: `inotify` or `poll`; empty until it is known."
        ),
    },
}
