"""
The agent's numbers at one moment: frozen, so that every rendering of it shows the same moment.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from conductor_loop import clock
from conductor_loop.metrics import counting
from conductor_loop.model import Kind, Outcome, PauseReason, Sample

COMPONENTS = (
    "fsnotify_watcher",
    "worker_pool",
    "state_manager",
    "file_manager",
    "metrics",
    "store",
    "disk",
)
PERCENTILES = ("50", "95", "99")
BEAT_LIMIT = 10.0  #: seconds without a tick after which the main loop counts as stuck


class State(enum.StrEnum):
    """
    How a component, or the whole agent, is; in the order of getting worse.
    """

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"

    @property
    def rank(self) -> int:
        return list(State).index(self)


class Phase(enum.StrEnum):
    """
    Where the agent is in its life.
    """

    STARTING = "starting"
    RECOVERING = "recovering"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """
    Values that somebody else knows and replaces as they change.
    """

    retry_waiting: int = 0  #: files waiting for their next attempt
    handoff_files: int = 0  #: matching regular files in the handoff directory
    ignored_entries: int = 0  #: entries that match and are no regular files
    oldest_pending_at: int | None = None
    still_written: int = 0  #: files that somebody has been writing for longer than settle_max
    unaccounted: int = 0
    directory_bytes: int = 0
    store_bytes: int = 0
    history_oldest_at: int | None = None
    watch_mode: str = ""  #: "inotify" or "poll"


@dataclass(frozen=True, slots=True)
class Pause:
    """
    Why intake stands still.
    """

    since: int
    message: str


@dataclass(frozen=True, slots=True)
class Condition:
    """
    What a component says of itself.
    """

    state: State
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """
    Everything that the renderings need.

    Percentiles and average are those of the last 1,000 processed and failed files by number; throughput
    counts the files of the last minute that ended other than `vanished`. Sizes in bytes, durations in
    seconds, moments in microseconds.
    """

    taken_at: int
    uptime: float
    phase: Phase
    beat_age: float  #: seconds since the main loop's last tick
    store_id: str
    agent_name: str = ""
    command_name: str
    max_workers: int
    active_workers: int
    totals: Mapping[counting.Key, int]
    gauges: Gauges
    queue_depth: int
    sample: Sample
    latency_percentiles: Mapping[str, float | None]
    average_processing_time: float
    throughput_files_per_sec: float
    status_files_per_sec: float
    last_success_at: int | None = None
    backpressure_events: int = 0
    watch_overflows: int = 0
    probe_seconds: float | None = None
    store_write_errors: int = 0
    commits: int = 0
    commit_seconds: float = 0.0  #: of all commits together
    pauses: Mapping[PauseReason, Pause] = field(default_factory=dict)
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    warnings: Mapping[str, str] = field(default_factory=dict)

    def total(self, metric: str, label: str = "") -> int:
        """
        Return one durable counter; one that was never counted is 0.
        """
        return self.totals.get((metric, label), 0)

    def ended(self, outcome: Outcome) -> Mapping[str, int]:
        """
        Return how many files ended so, by kind; kinds that this program does not know count as `other`.
        """
        counts: dict[str, int] = {}
        for (metric, label), value in self.totals.items():
            if metric == "outcomes" and label.startswith(f"{outcome}/"):
                kind = label.partition("/")[2]
                known = kind if kind in _KNOWN else "other"
                counts[known] = counts.get(known, 0) + value
        return counts

    @property
    def files_processed_total(self) -> int:
        return sum(self.ended(Outcome.PROCESSED).values())

    @property
    def files_failed_total(self) -> int:
        return sum(self.ended(Outcome.FAILED).values())

    @property
    def validation_failures_total(self) -> int:
        return sum(self.ended(Outcome.REJECTED).values())

    @property
    def retry_attempts_total(self) -> int:
        return self.totals.get(counting.RETRIES, 0)

    @property
    def timeout_count(self) -> int:
        return self.totals.get(counting.TIMEOUTS, 0)

    @property
    def status_files_total(self) -> int:
        return self.totals.get(counting.STATUS_FILES, 0)

    @property
    def processing_duration_total_seconds(self) -> float:
        return self.totals.get(counting.DURATION, 0) / clock.SECOND

    @property
    def worker_utilization(self) -> float:
        # Not above, while more than there should be have a file in hand: fewer were asked for.
        return min(100.0, 100.0 * self.active_workers / self.max_workers)

    @property
    def memory_usage_bytes(self) -> int:
        return self.sample.memory_bytes

    @property
    def ticking(self) -> bool:
        """
        Tell whether the main loop is as it should be: it need not tick while the agent starts or stops.
        """
        return self.phase is not Phase.RUNNING or self.beat_age < BEAT_LIMIT


_KNOWN = {"", *Kind}
