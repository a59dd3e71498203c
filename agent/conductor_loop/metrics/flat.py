"""
The numbers of `GET /metrics` as one flat value, for a program that the agent is embedded in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conductor_loop import clock
from conductor_loop.metrics import document
from conductor_loop.metrics.snapshot import Snapshot

TABLES = ("performance", "resources", "workers", "errors")  #: those of the document whose keys are here


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """
    Everything that `GET /metrics` shows, at one moment; sizes in bytes, utilization and CPU in percent.
    """

    taken_at: datetime  #: in UTC
    status: str  #: "healthy", "degraded" or "unhealthy"; "stopped" while nothing runs and nothing went wrong

    files_processed_total: int
    files_failed_total: int
    validation_failures_total: int
    retry_attempts_total: int
    throughput_files_per_sec: float  #: of the last minute
    average_processing_time: str  #: as "250ms"
    processing_duration_total_seconds: float
    status_files_per_sec: float
    latency_percentiles: Mapping[
        str, float | None
    ]  #: seconds, for "50", "95" and "99"; None before the first file

    memory_usage_bytes: int  #: of the whole program, as last sampled
    goroutine_count: int
    thread_count: int
    file_descriptor_count: int
    cpu_percent: float
    directory_size_bytes: int
    disk_free_bytes: int
    disk_free_bytes_by_path: Mapping[str, int]

    max_workers: int
    active_workers: int
    worker_utilization: float  #: 0 to 100
    queue_depth: int
    handoff_files: int  #: not taken yet, at the last scan
    retry_waiting: int  #: for another attempt
    backpressure_events: int

    timeout_count: int
    validation_errors_by_type: Mapping[str, int]
    processing_errors_by_type: Mapping[str, int]


def flatten(snapshot: Snapshot, status: str) -> Metrics:
    """
    Return the numbers of a snapshot.

    Args:
        status: how the agent was then.
    """
    shown = document.metrics(snapshot)
    numbers: dict[str, Any] = {}
    for table in TABLES:
        numbers |= shown[table]
    return Metrics(taken_at=clock.to_datetime(snapshot.taken_at), status=status, **numbers)
