"""
The metrics as Prometheus reads them; the only place that knows prometheus_client.
"""

from __future__ import annotations

import enum
import math
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from conductor_loop import clock
from conductor_loop.metrics import counting, outcomes, verdict
from conductor_loop.metrics.buckets import BOUNDS
from conductor_loop.metrics.snapshot import COMPONENTS, Snapshot, State
from conductor_loop.model import FoundBy, PauseReason, display_name

PREFIX = "conductor_loop_"

#: What a restart does to a metric: it goes on (True) or begins anew (False); all others show how things are now.
SURVIVES: Mapping[str, bool] = {
    f"{PREFIX}files_processed_total": True,
    f"{PREFIX}files_failed_total": True,
    f"{PREFIX}validation_failures_total": True,
    f"{PREFIX}retry_attempts_total": True,
    f"{PREFIX}throughput_files_per_second": False,
    f"{PREFIX}average_processing_time_seconds": True,
    f"{PREFIX}backpressure_events_total": False,
    f"{PREFIX}timeout_count_total": True,
    f"{PREFIX}processing_latency_seconds_p50": True,
    f"{PREFIX}processing_latency_seconds_p95": True,
    f"{PREFIX}processing_latency_seconds_p99": True,
    f"{PREFIX}last_success_timestamp_seconds": True,
    f"{PREFIX}status_files_total": True,
    f"{PREFIX}watch_overflows_total": False,
    f"{PREFIX}store_write_errors_total": False,
    f"{PREFIX}processing_duration_seconds": True,
    f"{PREFIX}wait_duration_seconds": True,
    f"{PREFIX}outcomes_total": True,
    f"{PREFIX}discovered_total": True,
    f"{PREFIX}store_commit_seconds": False,
    "process_cpu_seconds_total": False,
}


class Format(enum.Enum):
    """
    A text format, with its content type.
    """

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Exposition:
    """
    Renders the agent's metrics and those of its process.

    Args:
        snapshot: called once per rendering.
        version: of the program, for `build_info`.
    """

    def __init__(self, *, snapshot: Callable[[], Snapshot], version: str) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_AgentCollector(snapshot, version))
        ProcessCollector(registry=self._registry)

    def render(self, form: Format) -> bytes:
        """
        Return all metrics in one format.
        """
        if form is Format.OPENMETRICS:
            page: bytes = generate_openmetrics(self._registry, version="1.0.0")  # type: ignore[no-untyped-call]
            return page
        return generate_latest(self._registry)


class _AgentCollector(Collector):
    def __init__(self, snapshot: Callable[[], Snapshot], version: str) -> None:
        self._snapshot = snapshot
        self._version = version

    def describe(self) -> list[Metric]:
        # Without this the registry takes a snapshot on registration, to learn the names.
        return []

    def collect(self) -> Iterator[Metric]:
        snapshot = self._snapshot()
        for plain in _PLAIN:
            yield plain.metric(snapshot)
        yield _histogram(snapshot, "processing", "Run time of the last attempt of files that ran.")
        yield _histogram(snapshot, "wait", "Time from discovery to the first start of files that ran.")
        yield _outcomes(snapshot)
        yield _discovered(snapshot)
        yield _disk_free(snapshot)
        yield _paused(snapshot)
        yield _components(snapshot)
        yield _commits(snapshot)
        yield _history(snapshot)
        build = {"version": self._version, "python": platform.python_version()}
        yield InfoMetricFamily(f"{PREFIX}build", "The program and what runs it.", build)


@dataclass(frozen=True, slots=True)
class _Plain:
    """
    A metric with one value; None becomes NaN. A name that ends in `_total` is a counter.
    """

    name: str
    help: str
    value: Callable[[Snapshot], float | None]

    def metric(self, snapshot: Snapshot) -> Metric:
        value = self.value(snapshot)
        number = math.nan if value is None else float(value)
        family = CounterMetricFamily if self.name.endswith("_total") else GaugeMetricFamily
        return family(PREFIX + self.name, self.help, number)


def _histogram(snapshot: Snapshot, what: str, text: str) -> Metric:
    buckets, reached = [], 0
    for place, bound in enumerate(BOUNDS):
        reached += snapshot.total(*counting.bucket_key(what, place))
        buckets.append((floatToGoString(bound), reached))  # type: ignore[no-untyped-call]
    total = snapshot.total(f"{what}_us") / clock.SECOND
    return HistogramMetricFamily(f"{PREFIX}{what}_duration_seconds", text, buckets, total)


def _outcomes(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily(
        f"{PREFIX}outcomes", "Files that ended, by outcome and kind.", labels=("outcome", "kind")
    )
    for (outcome, kind), value in outcomes.by_kind(snapshot).items():
        family.add_metric((outcome, kind), value)
    return family


def _discovered(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily(
        f"{PREFIX}discovered", "Files claimed, by what brought them to notice.", labels=("by",)
    )
    for by in FoundBy:
        family.add_metric((by,), snapshot.total(*counting.discovered_key(by)))
    return family


def _disk_free(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily(
        f"{PREFIX}disk_free_bytes", "Free space of the file system that holds a directory.", labels=("path",)
    )
    for path, size in snapshot.sample.disk_free.items():
        family.add_metric((display_name(path),), size)
    return family


def _paused(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily(
        f"{PREFIX}intake_paused", "1 while intake is paused for this reason, else 0.", labels=("reason",)
    )
    for reason in PauseReason:
        family.add_metric((reason,), reason in snapshot.pauses)
    return family


def _components(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily(
        f"{PREFIX}component_healthy",
        "1 where the component is healthy, 0 where it is degraded or unhealthy.",
        labels=("component",),
    )
    found = verdict.assess(snapshot).components
    for component in COMPONENTS:
        family.add_metric((component,), found[component].state is State.HEALTHY)
    return family


def _commits(snapshot: Snapshot) -> Metric:
    return SummaryMetricFamily(
        f"{PREFIX}store_commit_seconds",
        "Duration of the store's commits.",
        count_value=snapshot.commits,
        sum_value=snapshot.commit_seconds,
    )


def _history(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily(
        f"{PREFIX}history_oldest_timestamp_seconds",
        "When the oldest outcome that is kept came about.",
        labels=("tier",),
    )
    oldest = _seconds(snapshot.gauges.history_oldest_at)
    family.add_metric(("outcomes",), math.nan if oldest is None else oldest)
    return family


def _seconds(moment_us: int | None) -> float | None:
    return None if moment_us is None else moment_us / clock.SECOND


# The order is that of the pages; names and meanings are a contract.
_PLAIN = (
    _Plain("files_processed_total", "Files processed.", lambda s: s.files_processed_total),
    _Plain("files_failed_total", "Files failed, without rejected ones.", lambda s: s.files_failed_total),
    _Plain(
        "validation_failures_total",
        "Files rejected; none of them ran.",
        lambda s: s.validation_failures_total,
    ),
    _Plain(
        "retry_attempts_total", "Failed attempts that another one follows.", lambda s: s.retry_attempts_total
    ),
    _Plain(
        "throughput_files_per_second",
        "Files processed, failed or rejected per second, over the last minute.",
        lambda s: s.throughput_files_per_sec,
    ),
    _Plain(
        "average_processing_time_seconds",
        "Mean run time of the last 1,000 files that ran.",
        lambda s: s.average_processing_time,
    ),
    _Plain("memory_usage_bytes", "Resident memory of the agent.", lambda s: s.memory_usage_bytes),
    _Plain(
        "goroutine_count", "Threads of the agent, under the name known before.", lambda s: s.sample.threads
    ),
    _Plain(
        "worker_utilization_percent", "Share of workers that have a file.", lambda s: s.worker_utilization
    ),
    _Plain("queue_depth", "Files claimed and ready to run.", lambda s: s.queue_depth),
    _Plain(
        "backpressure_events_total",
        "Times that ready files began to wait because the look-ahead was full.",
        lambda s: s.backpressure_events,
    ),
    _Plain("timeout_count_total", "Attempts ended by their time limit.", lambda s: s.timeout_count),
    _Plain(
        "processing_latency_seconds_p50",
        "Median run time of the last 1,000 files that ran.",
        lambda s: s.latency_percentiles["50"],
    ),
    _Plain(
        "processing_latency_seconds_p95",
        "95th percentile of the run time of the last 1,000 files that ran.",
        lambda s: s.latency_percentiles["95"],
    ),
    _Plain(
        "processing_latency_seconds_p99",
        "99th percentile of the run time of the last 1,000 files that ran.",
        lambda s: s.latency_percentiles["99"],
    ),
    _Plain("handoff_files", "Matching files in the handoff directory.", lambda s: s.gauges.handoff_files),
    _Plain("retry_waiting", "Files waiting for their next attempt.", lambda s: s.gauges.retry_waiting),
    _Plain(
        "oldest_pending_timestamp_seconds",
        "When the oldest file in the handoff directory last changed.",
        lambda s: _seconds(s.gauges.oldest_pending_at),
    ),
    _Plain(
        "last_success_timestamp_seconds",
        "When the last file ended as processed.",
        lambda s: _seconds(s.last_success_at),
    ),
    _Plain("workers", "Files that run at a time at most.", lambda s: s.max_workers),
    _Plain("workers_busy", "Workers that have a file.", lambda s: s.active_workers),
    _Plain("status_files_total", "Status files written.", lambda s: s.status_files_total),
    _Plain(
        "directory_size_bytes",
        "Size of the regular files directly in the handoff directory.",
        lambda s: s.gauges.directory_bytes,
    ),
    _Plain("threads", "Threads of the agent.", lambda s: s.sample.threads),
    _Plain("watch_overflows_total", "Overflows of the kernel's event queue.", lambda s: s.watch_overflows),
    _Plain(
        "watcher_probe_seconds",
        "Time that an event of our own took from the file system to the agent.",
        lambda s: s.probe_seconds,
    ),
    _Plain(
        "ignored_entries",
        "Entries of the handoff directory that match and are no regular files.",
        lambda s: s.gauges.ignored_entries,
    ),
    _Plain("store_bytes", "Size of the store with its log.", lambda s: s.gauges.store_bytes),
    _Plain(
        "store_write_errors_total",
        "Commits of the store that failed; each is repeated.",
        lambda s: s.store_write_errors,
    ),
    _Plain(
        "unaccounted_files",
        "Open rows without a file and files in slots without an open row; 0 unless something is wrong.",
        lambda s: s.gauges.unaccounted,
    ),
)
