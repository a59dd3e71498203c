"""
The worker threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from conductor_loop import clock
from conductor_loop.errors import ServiceCrashError
from conductor_loop.model import Interrupted, Job, Report
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.runtime.service import OnCrash, ThreadService
from conductor_loop.work.attempt import Progress
from conductor_loop.work.process import Abort

_REPORT_SECONDS = 1.0  #: between the end of the last command and the end of its worker
_TOO_LATE = 2  #: times its timeout, after which a handler is given up with the whole agent

Attempt = Callable[[Job, Progress], Report]


class Ready(Protocol):
    """
    Where jobs come from and reports go to.
    """

    def take(self) -> Job | None:
        """
        Wait for a job; None, for every worker that asks, means that there will be no more.
        """

    def report(self, report: Report) -> None: ...

    def close(self) -> None:
        """
        Let `take` return None from now on; returns at once.
        """


class Marks(Protocol):
    """
    The running marks, by which the next start knows what died with the agent. Workers count from 0.
    """

    def running(self, worker: int, job: Job) -> None: ...

    def spawned(self, worker: int, pid: int, start_time: int | None) -> None: ...

    def clear(self, worker: int) -> None: ...


class Live(Protocol):
    """
    The live metrics.
    """

    def worker_busy(self, delta: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Late:
    """
    A handler past its deadline, which nobody can stop.
    """

    worker: str
    file_id: str
    seconds: float  #: past the deadline
    timeout: float

    @property
    def lost(self) -> bool:
        """
        Tell whether it is past twice its timeout, and so given up.
        """
        return self.seconds > (_TOO_LATE - 1) * self.timeout


class WorkerPool:
    """
    A service of `count` threads, each of which takes a job, makes the attempt and reports, again and again.

    An exception out of an attempt is a bug of ours: it crashes the service, and so the agent. The mark is left
    standing then, so that the next start counts an interruption; three of those make the file `poison`, and so one
    file cannot crash the agent for ever.

    Args:
        attempt: makes one attempt.
        abort: set when running commands are to be ended; closed by `join` once all workers have ended.
        grace: seconds that running work may take to finish once it is joined.
        kill_grace: seconds that ending a command may take.
    """

    name = "workers"

    def __init__(
        self,
        *,
        count: int,
        ready: Ready,
        attempt: Attempt,
        marks: Marks,
        live: Live,
        abort: Abort,
        grace: float,
        kill_grace: float,
    ) -> None:
        self._ready = ready
        self._abort = abort
        self._grace = grace
        self._end_seconds = kill_grace + _REPORT_SECONDS
        self._workers = [_Worker(index, ready, attempt, marks, live) for index in range(count)]
        self._threads = [ThreadService(worker.name, worker.work) for worker in self._workers]

    def start(self, on_crash: OnCrash) -> None:
        for thread in self._threads:
            thread.start(on_crash)

    def request_stop(self) -> None:
        """
        Let no worker begin another attempt; returns at once.
        """
        for thread in self._threads:
            thread.request_stop()
        self._ready.close()

    def join(self, deadline: Deadline) -> bool:
        """
        Wait for running work; end commands early enough before `deadline` for their files to be reported.
        """
        self._join(Deadline(min(deadline.at - self._end_seconds, Deadline.after(self._grace).at)))
        self._abort.set()
        ended = self._join(Deadline(min(deadline.at, Deadline.after(self._end_seconds).at)))
        if ended:
            self._abort.close()
        return ended

    def late(self) -> Sequence[Late]:
        """
        Return the handlers that are past their deadline.
        """
        return [late for worker in self._workers if (late := worker.late())]

    def check(self) -> None:
        """
        Give up when a handler is past twice its timeout: only the end of the process ends it.

        Raises:
            ServiceCrashError: naming the file.
        """
        for late in self.late():
            if late.lost:
                raise ServiceCrashError(
                    f"{late.worker}: the handler has had {late.file_id} for {late.timeout + late.seconds:.0f}s,"
                    f" its timeout is {late.timeout:g}s"
                )

    def _join(self, deadline: Deadline) -> bool:
        # Every one of them, for each that ends in time reports its file; but not one that nothing will end.
        ended = [
            thread.join(Deadline.after(0) if worker.lost else deadline)
            for worker, thread in zip(self._workers, self._threads, strict=True)
        ]
        return all(ended)


class _Current(NamedTuple):
    file_id: str
    late_after: float
    deadline: float  #: by the monotonic clock


class _Worker:
    """
    What one thread does, and what it is doing.
    """

    def __init__(self, index: int, ready: Ready, attempt: Attempt, marks: Marks, live: Live) -> None:
        self.name = f"worker-{index + 1}"
        self._index = index
        self._ready = ready
        self._attempt = attempt
        self._marks = marks
        self._live = live
        self._marked = False
        self._current: _Current | None = None  # written by the worker, read by the main thread: one reference

    def work(self, stop: threading.Event) -> None:
        while not stop.is_set() and (job := self._ready.take()):
            if stop.is_set():
                self._ready.report(Report(job=job, verdict=Interrupted(), finished_at=clock.now_us()))
            else:
                self._do(job)

    def running(self, job: Job, late_after: float | None) -> None:
        self._marked = True
        self._marks.running(self._index, job)
        if late_after is not None:
            self._current = _Current(job.id, late_after, time.monotonic() + late_after)

    def spawned(self, pid: int, start_time: int | None) -> None:
        self._marks.spawned(self._index, pid, start_time)

    def late(self) -> Late | None:
        current = self._current
        if current is None:
            return None
        seconds = time.monotonic() - current.deadline
        return Late(self.name, current.file_id, seconds, current.late_after) if seconds > 0 else None

    @property
    def lost(self) -> bool:
        late = self.late()
        return late is not None and late.lost

    def _do(self, job: Job) -> None:
        self._live.worker_busy(1)
        try:
            report = self._attempt(job, self)
        finally:
            self._live.worker_busy(-1)
        self._current = None
        if self._marked:
            self._marks.clear(self._index)
            self._marked = False
        self._ready.report(report)
