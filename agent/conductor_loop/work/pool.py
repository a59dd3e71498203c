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
        Wait for a job; None: there will be no more, or the caller is to look whether it is still wanted.
        """

    def report(self, report: Report) -> None: ...

    def dismiss(self, count: int) -> None:
        """
        Let `take` return None so many times, as soon as there are no jobs; returns at once.
        """

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

    def grow(self, count: int) -> None:
        """
        Have room for so many workers; may raise OSError.
        """


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
        self._wanted = count
        self._ready = ready
        self._attempt = attempt
        self._marks = marks
        self._live = live
        self._abort = abort
        self._grace = grace
        self._kill_grace = kill_grace
        self._workers: list[_Worker] = []
        self._on_crash: OnCrash | None = None
        self._stopping = False
        # Who comes and who goes. Not for stopping, which a second signal may cut off anywhere and begin anew.
        self._lock = threading.Lock()

    @property
    def stop_seconds(self) -> float:
        """
        What a stop may take: the grace, and then the end of the commands that used it up.
        """
        return self._grace + self._kill_grace

    def start(self, on_crash: OnCrash) -> None:
        with self._lock:
            self._on_crash = on_crash
            self._hire()

    def configure(self, *, attempt: Attempt, grace: float, kill_grace: float) -> None:
        """
        Make all further attempts so; those under way end as they began. Any thread, returns at once.
        """
        self._attempt = attempt
        self._grace = grace
        # Never less than it was: a command may have begun when it was more.
        self._kill_grace = max(self._kill_grace, kill_grace)

    def resize(self, count: int) -> None:
        """
        Have so many workers. Further ones start at once; those beyond end after the file that they have in hand. While
        the pool stops, nothing happens. Any thread, returns at once.

        Raises:
            OSError: if there is no room for their marks; nothing was changed.
            RuntimeError: if no further threads can be made; the number is what it was.
        """
        with self._lock:
            if self._stopping:
                return
            self._marks.grow(count)
            before, self._wanted = self._wanted, count
            try:
                self._hire()
            except RuntimeError:
                self._wanted = before
                raise
            finally:
                # Those who wait for a job; the others look by themselves before they take the next one.
                self._ready.dismiss(max(0, len(self._workers) - self._wanted))

    def request_stop(self) -> None:
        """
        Let no worker begin another attempt; returns at once.
        """
        self._stopping = True
        for worker in tuple(self._workers):
            worker.thread.request_stop()
        self._ready.close()

    def join(self, deadline: Deadline) -> bool:
        """
        Wait for running work; end commands early enough before `deadline` for their files to be reported.
        """
        end_seconds = self._kill_grace + _REPORT_SECONDS
        self._join(Deadline(min(deadline.at - end_seconds, Deadline.after(self._grace).at)))
        self._abort.set()
        ended = self._join(Deadline(min(deadline.at, Deadline.after(end_seconds).at)))
        if ended:
            self._abort.close()
        return ended

    def late(self) -> Sequence[Late]:
        """
        Return the handlers that are past their deadline.
        """
        return [late for worker in tuple(self._workers) if (late := worker.late())]

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

    def _hire(self) -> None:
        """
        Start as many workers as are missing; the lock is held.
        """
        while self._on_crash is not None and len(self._workers) < self._wanted:
            # A number that nobody has, not even one who ends after this file: it is the place of the mark.
            taken = {worker.index for worker in self._workers}
            index = next(index for index in range(self._wanted) if index not in taken)
            worker = _Worker(index, self._ready, self._run_once, self._marks, self._live, leaves=self._leaves)
            # In this order: a stop that comes now either finds the worker, or is seen here.
            self._workers.append(worker)
            try:
                if self._stopping:
                    return
                worker.thread.start(self._on_crash)
            except RuntimeError:
                self._workers.remove(worker)
                raise

    def _run_once(self, job: Job, progress: Progress) -> Report:
        return self._attempt(job, progress)  # whatever it is at that moment

    def _leaves(self, worker: _Worker) -> bool:
        """
        Tell a worker between two files whether there are too many; it is no longer one of them then.
        """
        if len(self._workers) <= self._wanted:  # without the lock: nearly always so, and asked for every file
            return False
        with self._lock:
            leaves = len(self._workers) > self._wanted
            if leaves:
                self._workers.remove(worker)
            return leaves

    def _join(self, deadline: Deadline) -> bool:
        # Every one of them, for each that ends in time reports its file; but not one that nothing will end.
        ended = [
            worker.thread.join(Deadline.after(0) if worker.lost else deadline)
            for worker in tuple(self._workers)
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

    def __init__(
        self,
        index: int,
        ready: Ready,
        attempt: Attempt,
        marks: Marks,
        live: Live,
        *,
        leaves: Callable[[_Worker], bool],
    ) -> None:
        self.name = f"worker-{index + 1}"
        self.index = index
        self.thread = ThreadService(self.name, self._work)
        self._leaves = leaves
        self._ready = ready
        self._attempt = attempt
        self._marks = marks
        self._live = live
        self._marked = False
        self._current: _Current | None = None  # written by the worker, read by the main thread: one reference

    def running(self, job: Job, late_after: float | None) -> None:
        self._marked = True
        self._marks.running(self.index, job)
        if late_after is not None:
            self._current = _Current(job.id, late_after, time.monotonic() + late_after)

    def spawned(self, pid: int, start_time: int | None) -> None:
        self._marks.spawned(self.index, pid, start_time)

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

    def _work(self, stop: threading.Event) -> None:
        while not (stop.is_set() or self._leaves(self)):
            job = self._ready.take()
            if job is None:
                continue
            if stop.is_set():
                self._ready.report(Report(job=job, verdict=Interrupted(), finished_at=clock.now_us()))
            else:
                self._do(job)

    def _do(self, job: Job) -> None:
        self._live.worker_busy(1)
        try:
            report = self._attempt(job, self)
        finally:
            self._live.worker_busy(-1)
        self._current = None
        if self._marked:
            self._marks.clear(self.index)
            self._marked = False
        self._ready.report(report)
