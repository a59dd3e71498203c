"""
The live numbers: every part of the agent tells them here, and readers take a frozen snapshot.
"""

from __future__ import annotations

import bisect
import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from conductor_loop import clock
from conductor_loop.metrics import counting
from conductor_loop.metrics.percentile import nearest_rank
from conductor_loop.metrics.rate import Rate
from conductor_loop.metrics.snapshot import (
    COMPONENTS,
    PERCENTILES,
    Condition,
    Gauges,
    Pause,
    Phase,
    Snapshot,
    State,
)
from conductor_loop.model import Finished, Outcome, PauseReason, Sample

RECENT = 1000  #: files that percentiles and average are of


class Live:
    """
    Records; every method returns at once and may be called from any thread.

    Args:
        max_workers: how many files run at a time at most.
        command_name: basename of the configured command, for the phrase "NAME command failed".
        totals: the durable counters as the store has them.
        recent: (number, seconds of processing) of the last files that ran, in any order.
        last_success_at: moment at which the last file ended as processed.
        store_id: the store's.
        agent_name: the configured one.
        monotonic: seconds; a parameter for tests.
        now: the wall clock in microseconds; a parameter for tests.
    """

    def __init__(
        self,
        *,
        max_workers: int,
        command_name: str,
        totals: Mapping[counting.Key, int] | None = None,
        recent: Iterable[tuple[int, float]] = (),
        last_success_at: int | None = None,
        store_id: str = "",
        agent_name: str = "",
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], int] = clock.now_us,
    ) -> None:
        #: Files claimed and ready to run. A plain attribute, for it changes twice with every file.
        self.queue_depth = 0
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._now = now
        self._max_workers = max_workers
        self._command_name = command_name
        self._store_id = store_id
        self._agent_name = agent_name
        self._totals = dict(totals or {})
        self._recent = sorted(recent)[-RECENT:]
        self._last_success_at = last_success_at
        self._started = self._beat = monotonic()
        self._phase = Phase.STARTING
        self._gauges = Gauges()
        self._sample = Sample(taken_at=0)
        self._ended, self._status_files = Rate(), Rate()
        self._active_workers = 0
        self._events = dict.fromkeys(
            ("backpressure_events", "watch_overflows", "store_write_errors", "commits"), 0
        )
        self._commit_seconds = 0.0
        self._probe_seconds: float | None = None
        self._pauses: dict[PauseReason, Pause] = {}
        self._conditions: dict[str, Condition] = {}
        self._warnings: dict[str, str] = {}

    def configure(self, *, max_workers: int, command_name: str) -> None:
        """
        Replace what is configured.
        """
        with self._lock:
            self._max_workers = max_workers
            self._command_name = command_name

    def publish(
        self, totals: Mapping[counting.Key, int], finished: Sequence[Finished], commit_seconds: float
    ) -> None:
        """
        Take what a commit has made durable.

        Args:
            totals: the new values of those durable counters that changed.
            finished: the files that ended.
            commit_seconds: how long the commit took.
        """
        now = self._monotonic()
        with self._lock:
            written = totals.get(counting.STATUS_FILES)
            if written is not None:
                self._status_files.add(written - self._totals.get(counting.STATUS_FILES, 0), now)
            self._totals.update(totals)
            for end in finished:
                self._add_end(end, now)
            self._events["commits"] += 1
            self._commit_seconds += commit_seconds

    def set(self, **gauges: Any) -> None:
        """
        Replace fields of `Gauges`.

        Raises:
            TypeError: for a name that is none.
        """
        with self._lock:
            self._gauges = dataclasses.replace(self._gauges, **gauges)

    def directory_bytes(self, size: int) -> None:
        """
        Replace the size of the regular files directly in the handoff directory.
        """
        self.set(directory_bytes=size)

    def sample(self, sample: Sample) -> None:
        """
        Replace the last resource sample.
        """
        with self._lock:
            self._sample = sample

    def worker_busy(self, delta: int) -> None:
        """
        Say that a worker began (+1) or ended (-1) a file.
        """
        with self._lock:
            self._active_workers += delta

    def backpressure(self) -> None:
        """
        Count that ready files began to wait because the look-ahead was full.
        """
        self._count("backpressure_events")

    def overflowed(self) -> None:
        """
        Count an overflow of the kernel's event queue.
        """
        self._count("watch_overflows")

    def store_error(self) -> None:
        """
        Count a commit that failed.
        """
        self._count("store_write_errors")

    def probe(self, seconds: float) -> None:
        """
        Replace the time that an event of our own took from the file system to us.
        """
        with self._lock:
            self._probe_seconds = seconds

    def pause(self, reason: PauseReason, message: str, since: int | None = None) -> None:
        """
        Show a reason for which intake stands still; said again, it keeps its beginning.

        Args:
            since: its moment; None for now.
        """
        with self._lock:
            before = self._pauses.get(reason)
            began = before.since if before else self._now() if since is None else since
            self._pauses[reason] = Pause(began, message)

    def resume(self, reason: PauseReason) -> None:
        """
        Drop a reason for standing still.
        """
        with self._lock:
            self._pauses.pop(reason, None)

    def health(self, component: str, state: str, message: str = "") -> None:
        """
        Replace what a component says of itself.

        Args:
            component: one of `COMPONENTS`.
            state: a `State`, or its value.

        Raises:
            ValueError: for another component or state.
        """
        if component not in COMPONENTS:
            raise ValueError(f"no component: {component!r}; components are {', '.join(COMPONENTS)}")
        with self._lock:
            self._conditions[component] = Condition(State(state), message)

    def warn(self, key: str, message: str | None) -> None:
        """
        Show a warning, which by itself changes no status, under a key of the caller's; None takes it back.
        """
        with self._lock:
            if message is None:
                self._warnings.pop(key, None)
            else:
                self._warnings[key] = message

    def phase(self, phase: str) -> None:
        """
        Say where the agent is in its life; running counts as a tick.

        Args:
            phase: a `Phase`, or its value.
        """
        with self._lock:
            self._phase = Phase(phase)
            self._beat = self._monotonic()

    def beat(self) -> None:
        """
        Say that the main loop ticks.
        """
        with self._lock:
            self._beat = self._monotonic()

    def snapshot(self) -> Snapshot:
        """
        Return everything as it is now.
        """
        with self._lock:
            now = self._monotonic()
            recent = [seconds for _, seconds in self._recent]
            taken = self._copy(now)
        return dataclasses.replace(taken, **_latency(recent))

    def _count(self, event: str) -> None:
        with self._lock:
            self._events[event] += 1

    def _add_end(self, end: Finished, now: float) -> None:
        if end.outcome is not Outcome.VANISHED:
            self._ended.add(1, now)
        if end.outcome is Outcome.PROCESSED:
            self._last_success_at = max(end.finished_at, self._last_success_at or 0)
        if counting.ran(end) and end.duration is not None:
            bisect.insort(self._recent, (end.number, end.duration))
            del self._recent[:-RECENT]

    def _copy(self, now: float) -> Snapshot:
        return Snapshot(
            taken_at=self._now(),
            uptime=now - self._started,
            phase=self._phase,
            beat_age=now - self._beat,
            store_id=self._store_id,
            agent_name=self._agent_name,
            command_name=self._command_name,
            max_workers=self._max_workers,
            active_workers=self._active_workers,
            totals=dict(self._totals),
            gauges=self._gauges,
            queue_depth=self.queue_depth,
            sample=self._sample,
            latency_percentiles={},
            average_processing_time=0.0,
            throughput_files_per_sec=self._ended.per_second(now),
            status_files_per_sec=self._status_files.per_second(now),
            last_success_at=self._last_success_at,
            probe_seconds=self._probe_seconds,
            commit_seconds=self._commit_seconds,
            pauses=dict(self._pauses),
            conditions=dict(self._conditions),
            warnings=dict(self._warnings),
            **self._events,
        )


def _latency(recent: list[float]) -> dict[str, Any]:
    recent.sort()
    return {
        "latency_percentiles": {percent: nearest_rank(recent, float(percent)) for percent in PERCENTILES},
        "average_processing_time": sum(recent) / len(recent) if recent else 0.0,
    }
