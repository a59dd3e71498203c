from __future__ import annotations

import errno
import queue
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conductor_loop.errors import ServiceCrashError
from conductor_loop.model import Interrupted, Job, Report, Succeeded
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.work import process
from conductor_loop.work.attempt import Progress
from conductor_loop.work.pool import WorkerPool
from conductor_loop.work.process import Abort
from waiting import wait_until

RUN = uuid.uuid4()  # other runs of this test may be under way


class Ledger:
    """
    Jobs in, reports out, everything noted in order: what the ledger, the marks and the metrics are to workers.
    """

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.reports: list[Report] = []
        self.notes: list[tuple[Any, ...]] = []
        self.busy = 0
        self.busiest = 0
        self.closed = False
        self.room = 1000
        self._lock = threading.Lock()

    def take(self) -> Job | None:
        job = self.jobs.get()
        if self.closed:
            self.jobs.put(None)
            return None
        return job

    def dismiss(self, count: int) -> None:
        for _ in range(count):
            self.jobs.put(None)

    def close(self) -> None:
        self.closed = True
        self.jobs.put(None)

    def report(self, report: Report) -> None:
        self.notes.append(("report", report.job.number))
        self.reports.append(report)

    def running(self, worker: int, job: Job) -> None:
        self.notes.append(("running", worker, job.number))

    def spawned(self, worker: int, pid: int, start_time: int | None) -> None:
        self.notes.append(("spawned", worker))

    def clear(self, worker: int) -> None:
        self.notes.append(("clear", worker))

    def grow(self, count: int) -> None:
        if count > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.notes.append(("grow", count))

    def worker_busy(self, delta: int) -> None:
        with self._lock:
            self.busy += delta
            self.busiest = max(self.busiest, self.busy)


class Running:
    """
    A pool at work.
    """

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.abort = Abort()
        self.crashes: queue.SimpleQueue[tuple[str, BaseException]] = queue.SimpleQueue()
        self.pool: WorkerPool | None = None

    def start(
        self, attempt: Callable[[Job, Progress], Report], *, count: int = 2, grace: float = 60.0
    ) -> WorkerPool:
        self.pool = WorkerPool(
            count=count,
            ready=self.ledger,
            attempt=attempt,
            marks=self.ledger,
            live=self.ledger,
            abort=self.abort,
            grace=grace,
            kill_grace=0.2,
        )
        self.pool.start(lambda name, error: self.crashes.put((name, error)))
        return self.pool

    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.ledger.jobs.put(job(number))

    def stop(self, seconds: float = 10.0) -> bool:
        assert self.pool is not None
        self.pool.request_stop()
        return self.pool.join(Deadline.after(seconds))


def job(number: int) -> Job:
    return Job(
        number=number,
        id=f"{RUN}-{number}",
        name="intent-a.json",
        slot=0,
        dir_fd=-1,
        relative="0/intent-a.json",
        attempt=1,
        discovered_at=0,
        claimed_at=0,
        unchanged_since=0,
    )


def succeeded(job: Job, progress: Progress) -> Report:
    progress.running(job, 30.0)
    return Report(job=job, verdict=Succeeded(), finished_at=0)


@pytest.fixture
def running() -> Iterator[Running]:
    before = threading.active_count()
    made = Running()
    yield made
    made.abort.close()
    wait_until(lambda: threading.active_count() == before)


def test_every_job_is_attempted_and_reported_once(running: Running) -> None:
    """
    By all workers together, never more at once than there are.
    """
    running.start(succeeded, count=4)
    running.put(*range(200))
    wait_until(lambda: len(running.ledger.reports) == 200)

    assert running.stop()
    assert sorted(report.job.number for report in running.ledger.reports) == list(range(200))
    assert running.ledger.busy == 0
    assert 1 <= running.ledger.busiest <= 4


def test_the_mark_stands_while_the_job_runs(running: Running) -> None:
    """
    Written before, cleared after, and the report comes last.
    """

    def attempt(job: Job, progress: Progress) -> Report:
        progress.running(job, None)
        progress.spawned(5, 6)
        return Report(job=job, verdict=Interrupted(), finished_at=0)

    running.start(attempt, count=1)
    running.put(7)
    wait_until(lambda: running.ledger.reports)

    assert running.ledger.notes == [("running", 0, 7), ("spawned", 0), ("clear", 0), ("report", 7)]
    assert running.stop()


def test_what_never_ran_needs_no_mark(running: Running) -> None:
    """
    A rejected file costs no write.
    """
    running.start(lambda job, progress: Report(job=job, verdict=Succeeded(), finished_at=0), count=1)
    running.put(1, 2)
    wait_until(lambda: len(running.ledger.reports) == 2)

    assert running.ledger.notes == [("report", 1), ("report", 2)]
    assert running.stop()


def test_workers_are_named_threads(running: Running) -> None:
    """
    The same words in logs and metrics.
    """
    names: set[str] = set()
    both = threading.Barrier(2, timeout=10)

    def attempt(job: Job, progress: Progress) -> Report:
        both.wait()
        names.add(threading.current_thread().name)
        return succeeded(job, progress)

    running.start(attempt)
    running.put(1, 2)
    wait_until(lambda: len(running.ledger.reports) == 2)

    assert names == {"worker-1", "worker-2"}
    assert running.stop()


def test_running_work_is_finished_on_stop(running: Running) -> None:
    """
    What waits is left where it is.
    """
    begun, go_on = threading.Event(), threading.Event()

    def attempt(job: Job, progress: Progress) -> Report:
        begun.set()
        go_on.wait(10)
        return succeeded(job, progress)

    pool = running.start(attempt, count=1)
    running.put(1, 2)
    begun.wait(10)
    pool.request_stop()
    go_on.set()

    assert running.stop()
    assert [(report.job.number, report.verdict) for report in running.ledger.reports] == [(1, Succeeded())]


def test_a_job_that_comes_with_the_stop_goes_back_unrun(running: Running) -> None:
    """
    A worker that waited for it all the time does not begin it.
    """
    asked = threading.Event()
    take = running.ledger.take

    def take_late() -> Job | None:
        asked.set()
        return take()

    running.ledger.take = take_late  # type: ignore[method-assign]
    running.ledger.close = lambda: running.put(1)  # type: ignore[method-assign]
    running.start(succeeded, count=1)
    asked.wait(10)

    assert running.stop()
    assert [(report.job.number, report.verdict) for report in running.ledger.reports] == [(1, Interrupted())]


def command(running: Running, script: str, how: list[process.How]) -> Callable[[Job, Progress], Report]:
    def attempt(job: Job, progress: Progress) -> Report:
        progress.running(job, None)
        finish = process.run(
            ["sh", "-c", script],
            executable="/bin/sh",
            environ={b"PATH": b"/usr/bin:/bin", b"CONDUCTOR_FILE_ID": job.id.encode()},
            file_id=job.id,
            timeout=60.0,
            kill_grace=0.2,
            output_limit=100,
            abort=running.abort,
            spawned=progress.spawned,
        )
        how.append(finish.how)
        return Report(job=job, verdict=Interrupted(), finished_at=0)

    return attempt


@pytest.mark.slow
def test_running_commands_are_ended_before_the_stop_is_over(running: Running) -> None:
    """
    Early enough to be reported, though they ignore SIGTERM.
    """
    how: list[process.How] = []
    running.start(command(running, "trap '' TERM; sleep 60", how))
    running.put(1, 2)
    wait_until(lambda: [note[0] for note in running.ledger.notes].count("spawned") == 2)
    deadline = Deadline.after(4.0)

    assert running.stop(4.0)
    assert not deadline.expired
    assert how == [process.How.ABORTED] * 2
    assert len(running.ledger.reports) == 2
    assert [note[0] for note in running.ledger.notes].count("clear") == 2


def test_a_command_has_its_time_before_it_is_ended(running: Running) -> None:
    """
    The stop waits as long as it can.
    """
    how: list[process.How] = []
    running.start(command(running, "sleep 0.5", how), count=1)
    running.put(1)
    wait_until(lambda: ("spawned", 0) in running.ledger.notes)

    assert running.stop(10.0)
    assert how == [process.How.EXITED]


def test_a_command_is_ended_when_the_grace_is_over(running: Running) -> None:
    """
    Though the whole stop would have more time.
    """
    how: list[process.How] = []
    running.start(command(running, "sleep 60", how), count=1, grace=0.1)
    running.put(1)
    wait_until(lambda: ("spawned", 0) in running.ledger.notes)

    assert running.stop(100.0)
    assert how == [process.How.ABORTED]


def test_a_handler_that_does_not_end_makes_the_stop_late(running: Running) -> None:
    """
    Nobody can end it; the deadline is kept all the same.
    """
    go_on = threading.Event()

    def attempt(job: Job, progress: Progress) -> Report:
        progress.running(job, 60.0)
        go_on.wait(20)
        return Report(job=job, verdict=Succeeded(), finished_at=0)

    running.start(attempt, count=1)
    running.put(1)
    wait_until(lambda: running.ledger.notes)

    assert not running.stop(0.3)
    go_on.set()
    assert running.stop()


def test_a_late_handler_is_named_and_then_given_up(running: Running) -> None:
    """
    Past its timeout it is late, past twice its timeout only the agent's end helps.
    """
    go_on = threading.Event()

    def attempt(job: Job, progress: Progress) -> Report:
        progress.running(job, 0.3)
        go_on.wait(20)
        return Report(job=job, verdict=Succeeded(), finished_at=0)

    pool = running.start(attempt)
    on_time = pool.late()
    running.put(9)
    (late,) = wait_until(pool.late)

    assert on_time == []
    assert (late.file_id, late.timeout) == (f"{RUN}-9", 0.3)
    assert late.worker in ("worker-1", "worker-2")
    with pytest.raises(
        ServiceCrashError, match=rf"worker-[12]: the handler has had {RUN}-9 for .*its timeout is 0\.3s"
    ):
        wait_until(pool.check)
    go_on.set()
    wait_until(lambda: running.ledger.reports)
    assert pool.late() == []
    pool.check()
    assert running.stop()


def test_a_command_is_never_late(running: Running) -> None:
    """
    Its timeout is enforced, and ending it may take longer than the timeout itself.
    """
    go_on = threading.Event()

    def attempt(job: Job, progress: Progress) -> Report:
        progress.running(job, None)
        go_on.wait(20)
        return Report(job=job, verdict=Succeeded(), finished_at=0)

    pool = running.start(attempt)
    running.put(1)
    wait_until(lambda: running.ledger.notes)

    assert pool.late() == []
    go_on.set()
    assert running.stop()


def test_a_bug_in_an_attempt_crashes_the_service_and_leaves_the_mark(running: Running) -> None:
    """
    The next start counts an interruption, so that such a file becomes poison instead of crashing for ever.
    """

    def attempt(job: Job, progress: Progress) -> Report:
        progress.running(job, None)
        raise LookupError("our fault")

    running.start(attempt, count=1)
    running.put(1)
    name, error = running.crashes.get(timeout=10)

    assert name == "worker-1"
    assert isinstance(error, LookupError)
    assert running.ledger.notes == [("running", 0, 1)]
    assert running.ledger.busy == 0
    assert running.stop()


def test_a_stop_before_the_start_is_harmless(running: Running) -> None:
    """
    The service protocol allows it.
    """
    running.pool = WorkerPool(
        count=1,
        ready=running.ledger,
        attempt=succeeded,
        marks=running.ledger,
        live=running.ledger,
        abort=running.abort,
        grace=1.0,
        kill_grace=1.0,
    )
    running.pool.request_stop()
    running.pool.request_stop()

    assert running.pool.join(Deadline.after(0.0))


class Gate:
    """
    An attempt that goes on when it is told to, one file at a time or all.
    """

    def __init__(self) -> None:
        self.inside: list[int] = []
        self._go_on = threading.Semaphore(0)

    def __call__(self, job: Job, progress: Progress) -> Report:
        progress.running(job, None)
        self.inside.append(job.number)
        self._go_on.acquire(timeout=20)
        self.inside.remove(job.number)
        return Report(job=job, verdict=Succeeded(), finished_at=0)

    def let(self, count: int) -> None:
        self._go_on.release(count)


def workers() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("worker-"))


def test_more_workers_start_at_once(running: Running) -> None:
    """
    With a place for their marks, made before.
    """
    gate = Gate()
    pool = running.start(gate, count=1)
    running.put(*range(4))
    wait_until(lambda: gate.inside == [0])
    pool.resize(3)
    wait_until(lambda: len(gate.inside) == 3)

    assert workers() == ["worker-1", "worker-2", "worker-3"]
    assert running.ledger.notes[1] == ("grow", 3)
    gate.let(4)
    wait_until(lambda: len(running.ledger.reports) == 4)
    assert running.stop()


def test_fewer_workers_finish_what_they_have_and_take_nothing_more(running: Running) -> None:
    """
    Nothing is interrupted; from then on there are never more than asked for.
    """
    gate = Gate()
    pool = running.start(gate, count=8)
    running.put(*range(12))
    wait_until(lambda: len(gate.inside) == 8)
    pool.resize(1)
    for finished in range(1, 12):
        gate.let(1)
        wait_until(lambda finished=finished: len(running.ledger.reports) == finished)  # type: ignore[misc]
        left = max(1, 8 - finished)
        wait_until(lambda left=left: len(workers()) == left and len(gate.inside) == left)  # type: ignore[misc]
    gate.let(1)
    wait_until(lambda: len(running.ledger.reports) == 12)

    assert sorted(report.job.number for report in running.ledger.reports) == list(range(12))
    assert {report.verdict for report in running.ledger.reports} == {Succeeded()}
    assert running.stop()


def test_workers_that_wait_for_a_job_leave_at_once(running: Running) -> None:
    """
    They do not wait for one more file.
    """
    pool = running.start(succeeded, count=8)
    wait_until(lambda: len(workers()) == 8)
    pool.resize(2)
    wait_until(lambda: len(workers()) == 2)
    running.put(*range(20))
    wait_until(lambda: len(running.ledger.reports) == 20)

    assert running.ledger.busiest <= 2
    assert running.stop()


def test_fewer_and_more_again_are_never_more_than_asked_for(running: Running) -> None:
    """
    Who was about to leave stays instead, and each has a mark of its own.
    """
    gate = Gate()
    pool = running.start(gate, count=4)
    running.put(*range(10))
    wait_until(lambda: len(gate.inside) == 4)
    for _ in range(3):
        pool.resize(1)
        pool.resize(4)
    assert len(workers()) == 4
    gate.let(2)
    wait_until(lambda: len(running.ledger.reports) == 2 and len(gate.inside) == 4)
    pool.resize(2)
    gate.let(2)
    wait_until(lambda: len(workers()) == 2)
    pool.resize(3)
    wait_until(lambda: len(gate.inside) == 3)
    gate.let(10)
    wait_until(lambda: len(running.ledger.reports) == 10)

    assert running.ledger.busiest == 4
    assert_marks_are_apart(running.ledger.notes)
    assert running.stop()


def test_who_comes_takes_the_place_of_who_went(running: Running) -> None:
    """
    And not that of one who still has a file in hand.
    """
    ends = [threading.Event() for _ in range(4)]

    def attempt(job: Job, progress: Progress) -> Report:
        progress.running(job, None)
        ends[job.number].wait(10)
        return Report(job=job, verdict=Succeeded(), finished_at=0)

    pool = running.start(attempt, count=3)
    running.put(0, 1, 2)
    wait_until(lambda: len([note for note in running.ledger.notes if note[0] == "running"]) == 3)
    pool.resize(2)
    [first] = [note[2] for note in running.ledger.notes if note[:2] == ("running", 0)]
    ends[first].set()
    wait_until(lambda: workers() == ["worker-2", "worker-3"])
    pool.resize(3)
    running.put(3)
    wait_until(lambda: ("running", 0, 3) in running.ledger.notes)
    for end in ends:
        end.set()

    assert running.stop()


def assert_marks_are_apart(notes: list[tuple[Any, ...]]) -> None:
    """
    Nobody writes a mark over that of another who runs.
    """
    held: set[int] = set()
    for note in notes:
        if note[0] == "running":
            assert note[1] not in held
            held.add(note[1])
        elif note[0] == "clear":
            held.discard(note[1])


def test_without_room_for_the_marks_nothing_changes(running: Running) -> None:
    """
    The disk is full: the error says so, and the workers there are go on.
    """
    pool = running.start(succeeded, count=2)
    running.ledger.room = 2
    with pytest.raises(OSError, match="No space left"):
        pool.resize(3)
    running.put(*range(5))
    wait_until(lambda: len(running.ledger.reports) == 5)

    assert workers() == ["worker-1", "worker-2"]
    assert running.stop()


def test_without_further_threads_there_are_as_many_as_before(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Those that could be started go again.
    """
    pool = running.start(succeeded, count=2)
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "worker-5":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError):
        pool.resize(8)
    wait_until(lambda: len(workers()) == 2)
    running.put(*range(5))
    wait_until(lambda: len(running.ledger.reports) == 5)

    assert running.stop()


def test_another_attempt_holds_for_the_next_file(running: Running) -> None:
    """
    What is under way ends as it began.
    """
    gate = Gate()
    pool = running.start(gate, count=1, grace=60.0)
    running.put(1, 2)
    wait_until(lambda: gate.inside == [1])
    pool.configure(attempt=succeeded, grace=1.0, kill_grace=0.1)
    gate.let(1)
    wait_until(lambda: len(running.ledger.reports) == 2)

    assert gate.inside == []
    assert running.stop()


def test_a_stop_waits_for_commands_that_began_with_a_longer_kill_grace(running: Running) -> None:
    """
    The time until their end was promised when they began; the grace is that of now.
    """
    pool = running.start(succeeded, count=1, grace=60.0)
    pool.configure(attempt=succeeded, grace=1.0, kill_grace=0.05)
    shorter = pool.stop_seconds
    pool.configure(attempt=succeeded, grace=1.0, kill_grace=5.0)

    assert (shorter, pool.stop_seconds) == (1.2, 6.0)
    assert running.stop()


def test_while_it_stops_nobody_is_started(running: Running) -> None:
    """
    Neither during the stop nor after it.
    """
    gate = Gate()
    pool = running.start(gate, count=1)
    running.put(1)
    wait_until(lambda: gate.inside == [1])
    pool.request_stop()
    pool.resize(8)
    assert workers() == ["worker-1"]
    gate.let(1)
    assert running.stop()
    pool.resize(8)

    assert workers() == []
    assert ("grow", 8) not in running.ledger.notes


def test_resized_before_the_start_it_starts_with_so_many(running: Running) -> None:
    """
    Nobody works before the start.
    """
    running.pool = pool = WorkerPool(
        count=1,
        ready=running.ledger,
        attempt=succeeded,
        marks=running.ledger,
        live=running.ledger,
        abort=running.abort,
        grace=1.0,
        kill_grace=1.0,
    )
    pool.resize(3)
    before = workers()
    pool.start(lambda name, error: None)
    wait_until(lambda: len(workers()) == 3)

    assert before == []
    assert running.stop()


@pytest.mark.slow
def test_resizing_all_the_time_loses_no_job(running: Running) -> None:
    """
    Every one is attempted once, whoever comes and goes, and the stop may come at any moment of that.
    """
    pool = running.start(succeeded, count=4)
    stop = threading.Event()

    def resize() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            pool.resize((turn * 7) % 12 + 1)

    threads = [threading.Thread(target=resize) for _ in range(2)]
    for thread in threads:
        thread.start()
    running.put(*range(5000))
    wait_until(lambda: len(running.ledger.reports) == 5000, timeout=30)
    assert running.stop()
    stop.set()
    for thread in threads:
        thread.join()

    assert sorted(report.job.number for report in running.ledger.reports) == list(range(5000))
    assert_marks_are_apart(running.ledger.notes)
    assert workers() == []
