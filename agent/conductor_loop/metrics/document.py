"""
The JSON document of `GET /metrics`; its keys are a contract.
"""

from __future__ import annotations

import json
from typing import Any

from conductor_loop import clock
from conductor_loop.metrics.outcomes import by_phrase
from conductor_loop.metrics.snapshot import Snapshot
from conductor_loop.model import Outcome, display_name


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
