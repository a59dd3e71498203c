"""
What becomes of a file after a worker's report.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from conductor_loop import clock
from conductor_loop.errors import StoreError
from conductor_loop.ledger import endings
from conductor_loop.ledger import ledger as ledger_module
from conductor_loop.model import (
    Again,
    Blocked,
    Failed,
    Identity,
    Interrupted,
    Job,
    Kind,
    PauseReason,
    Rejected,
    Run,
    Succeeded,
    Unsettled,
)
from conductor_loop.store import queries
from conductor_loop.store.changes import Changes
from ledgers import Bench, running
from waiting import wait_until


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "_BLOCKED_AGAIN", 0.05)
    monkeypatch.setattr(endings, "_NO_PLACE", 0.02)
    monkeypatch.setattr(ledger_module, "_COMMIT_AGAIN", 0.02)


def failing(bench: Bench, name: str, delay: float, kind: Kind = Kind.COMMAND_FAILED) -> Job:
    """
    Drop a file and report that its first attempt is to be repeated.
    """
    bench.offer(name)
    job = bench.take()
    bench.report(job, Again(kind, "exit code 75", delay))
    return job


def finish(bench: Bench, *jobs: Job) -> None:
    for job in jobs:
        bench.report(job)
    bench.wait_filed(*jobs)


def test_success_is_entered_counted_and_told(tmp_path: Path) -> None:
    """
    Row, attempt, totals, status file, place, announcement.
    """
    with running(tmp_path) as bench:
        row = bench.process("intent-a.json")
        [attempt] = bench.attempts(1)
        snapshot = bench.live.snapshot()
        told = bench.status(row)

        assert (row.outcome, row.kind, row.message) == ("processed", None, "Processed in 250ms")
        assert (row.attempts, row.exit_code, row.duration_us, row.sha256) == (1, 0, 250_000, "ab" * 32)
        assert row.wait_us is not None
        assert row.wait_us >= 0
        assert (attempt.attempt, attempt.kind, attempt.duration_us) == (1, None, 250_000)
        assert (snapshot.files_processed_total, snapshot.files_failed_total) == (1, 0)
        assert snapshot.processing_duration_total_seconds == 0.25
        assert snapshot.status_files_total == 1
        assert (told["status"], told["outcome"], told["filed_as"]) == (
            "success",
            "processed",
            "intent-a.json",
        )
        assert row.finished_at is not None
        assert row.status_name == f"intent-a.json-{clock.compact(row.finished_at)}.status"
        assert bench.listing("processed") == ["intent-a.json"]
        assert bench.listing("failed") == []
        [announced] = bench.filed
        assert (announced.name, announced.outcome, announced.duration) == ("intent-a.json", "processed", 0.25)


def test_message_of_a_success_is_kept(tmp_path: Path) -> None:
    """
    A handler may say something.
    """
    with running(tmp_path) as bench:
        row = bench.process("intent-a.json", Succeeded("scaled to 3"))

        assert row.message == bench.status(row)["message"] == "scaled to 3"


def test_failure_has_an_error_log_beside_it(tmp_path: Path) -> None:
    """
    With the output of the last attempt.
    """
    run = Run(started_at=clock.now_us(), duration=1.5, exit_code=3, output=b"went wrong\n", output_bytes=11)
    with running(tmp_path) as bench:
        row = bench.process("intent-a.json", Failed(Kind.COMMAND_FAILED, "exit code 3"), run=run)
        [attempt] = bench.attempts(1)

        assert (row.outcome, row.kind, row.exit_code) == ("failed", "command_failed", 3)
        assert (attempt.kind, attempt.message, attempt.output) == (
            "command_failed",
            "exit code 3",
            b"went wrong\n",
        )
        assert bench.status(row)["status"] == "failed"
        assert bench.listing("failed") == ["intent-a.json", "intent-a.json.error.log"]
        assert "went wrong" in (bench.places.paths.failed / "intent-a.json.error.log").read_text()
        snapshot = bench.live.snapshot()
        assert snapshot.files_failed_total == 1
        assert snapshot.total("outcomes", "failed/command_failed") == 1
        assert snapshot.timeout_count == 0


def test_rejected_file_never_ran(tmp_path: Path) -> None:
    """
    No attempt, no times; counted as a validation failure and not as a failed file.
    """
    with running(tmp_path) as bench:
        row = bench.process("intent-a.json", Rejected(Kind.INVALID_JSON, "line 1"), run=None)

        assert (row.outcome, row.kind, row.attempts) == ("rejected", "invalid_json", 0)
        assert (row.exit_code, row.duration_us, row.wait_us) == (None, None, None)
        assert bench.attempts(1) == []
        assert bench.listing("failed") == ["intent-a.json", "intent-a.json.error.log"]
        assert bench.status(row)["status"] == "failed"
        assert bench.status(row)["outcome"] == "rejected"
        snapshot = bench.live.snapshot()
        assert (snapshot.validation_failures_total, snapshot.files_failed_total) == (1, 0)
        assert snapshot.average_processing_time == 0


def test_timeouts_count_attempts(tmp_path: Path) -> None:
    """
    Repeated and final ones alike.
    """
    with running(tmp_path) as bench:
        failing(bench, "intent-a.json", 0, Kind.TIMEOUT)
        job = bench.take()
        bench.report(job, Failed(Kind.TIMEOUT, "30s"))
        bench.wait_filed(job)

        assert bench.live.snapshot().timeout_count == 2
        assert bench.live.snapshot().retry_attempts_total == 1
        assert bench.live.snapshot().total("outcomes", "failed/timeout") == 1


def test_failed_attempt_waits_durably_in_its_slot(tmp_path: Path) -> None:
    """
    One commit has the attempt, the counters and the moment of the next one.
    """
    with running(tmp_path) as bench:
        before = clock.now_us()
        job = failing(bench, "intent-a.json", 100.0)
        wait_until(lambda: bench.live.snapshot().gauges.retry_waiting == 1)
        wait_until(lambda: bench.attempts(1))
        row = bench.row(1)

        assert (row.outcome, row.attempts) == (None, 1)
        assert row.next_attempt_at is not None
        assert 99 < (row.next_attempt_at - before) / clock.SECOND < 110
        assert bench.live.snapshot().retry_attempts_total == 1
        assert bench.live.snapshot().queue_depth == 0
        assert bench.ledger.admission.room() == 64
        assert (bench.places.paths.work / job.relative).exists()


def test_next_attempt_comes_when_it_is_due(tmp_path: Path) -> None:
    """
    Not before, with its number, and both attempts are remembered.
    """
    with running(tmp_path) as bench:
        began = time.monotonic()
        failing(bench, "intent-a.json", 0.2)
        job = bench.take()

        assert time.monotonic() - began >= 0.2
        assert (job.number, job.attempt) == (1, 2)
        assert bench.live.snapshot().gauges.retry_waiting == 0
        finish(bench, job)
        assert [attempt.kind for attempt in bench.attempts(1)] == ["command_failed", None]
        assert bench.row(1).attempts == 2
        assert bench.row(1).next_attempt_at is None
        assert bench.status(bench.row(1))["attempts"] == 2


def test_repeated_attempt_runs_only_after_its_failure_is_durable(tmp_path: Path) -> None:
    """
    Even with a delay of nothing: otherwise a crash would forget an attempt that took place.
    """
    with running(tmp_path) as bench:
        for number in range(1, 6):
            failing(bench, f"intent-{number}.json", 0.0)
            job = bench.take()
            known = bench.row(number).attempts
            finish(bench, job)

            assert (job.attempt, known) == (2, 1)


def test_wait_survives_a_restart(tmp_path: Path) -> None:
    """
    With what is left of it, and the count of attempts.
    """
    with running(tmp_path) as bench:
        failing(bench, "intent-a.json", 0.4)
    with running(tmp_path) as bench:
        assert bench.live.snapshot().gauges.retry_waiting == 1
        job = bench.take()

        assert job.attempt == 2
        finish(bench, job)


def test_unsettled_file_is_looked_at_again_and_nothing_counts(tmp_path: Path) -> None:
    """
    Somebody may still be writing to it.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        bench.report(bench.take(), Unsettled(0.02), run=None)
        job = bench.take()

        assert job.attempt == 1
        assert bench.live.snapshot().retry_attempts_total == 0
        finish(bench, job)
        assert bench.row(1).attempts == 1


def test_row_follows_a_file_that_changed_after_it_was_offered(tmp_path: Path) -> None:
    """
    What was read is what counts; recovery finds it by that.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        job = bench.take()
        path = bench.places.paths.work / job.relative
        path.write_bytes(b"{} and more")
        found = Identity.from_stat(path.stat())
        bench.report(job, identity=found)
        bench.wait_filed(job)

        assert bench.row(1).identity == found


def test_same_file_under_a_new_ctime_is_no_change(tmp_path: Path) -> None:
    """
    The claim's own rename changes it.
    """
    with running(tmp_path) as bench:
        arrival = bench.drop("intent-a.json")
        bench.ledger.admission.offer([arrival])
        job = bench.take()
        bench.report(job, identity=arrival.identity._replace(ctime_ns=1))
        bench.wait_filed(job)

        assert bench.row(1).identity == arrival.identity


def test_blocked_file_pauses_intake_and_comes_back(tmp_path: Path) -> None:
    """
    Nothing counts against it; the pause ends when it runs.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        bench.report(bench.take(), Blocked(PauseReason.COMMAND, "porch: not found"), run=None)
        job = bench.take()

        assert bench.ledger.admission.paused()
        assert bench.live.snapshot().pauses[PauseReason.COMMAND].message == "porch: not found"
        assert job.attempt == 1
        finish(bench, job)
        assert not bench.ledger.admission.paused()
        assert bench.row(1).attempts == 1
        assert len(bench.attempts(1)) == 1
        assert bench.live.snapshot().retry_attempts_total == 0


def test_pause_for_the_command_ends_with_the_last_file_that_could_try_it(tmp_path: Path) -> None:
    """
    The blocked file turned out to be gone: nobody in hand would ever find out that the command is back.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json", "intent-b.json")
        first, second = bench.take(), bench.take()
        for job in (first, second):
            bench.report(job, Blocked(PauseReason.COMMAND, "porch: not found"), run=None)
        first, second = bench.take(), bench.take()
        bench.report(first, Rejected(Kind.UNREADABLE, "gone"), run=None)
        bench.wait_filed(first)
        assert bench.ledger.admission.paused()
        bench.report(second, Rejected(Kind.UNREADABLE, "gone"), run=None)
        bench.wait_filed(second)

        wait_until(lambda: not bench.ledger.admission.paused(), timeout=2.0)


def test_disk_pause_is_not_ended_by_a_run(tmp_path: Path) -> None:
    """
    Whoever watches the disk ends it.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        run = Run(started_at=clock.now_us(), duration=0.1, exit_code=1)
        bench.report(bench.take(), Blocked(PauseReason.DISK, "1 MiB free"), run=run)
        job = bench.take()
        finish(bench, job)

        assert list(bench.live.snapshot().pauses) == [PauseReason.DISK]
        assert bench.row(1).attempts == 1


def test_interrupted_file_stays_for_the_next_start(tmp_path: Path) -> None:
    """
    No attempt, no failure, no row changed.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        bench.report(bench.take(), Interrupted(), run=None)
    with running(tmp_path) as bench:
        job = bench.take()

        assert (job.attempt, job.interruptions) == (1, 0)
        finish(bench, job)


def test_run_that_a_stop_cut_off_is_kept_and_ends_the_wait(tmp_path: Path) -> None:
    """
    It is in the file's story, and the wait is that until it began, not until the run after the restart.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        job = bench.take()
        started_at = job.discovered_at + 3 * clock.SECOND
        bench.report(job, Interrupted(), run=Run(started_at=started_at, duration=0.1, signal=15))
    with running(tmp_path) as bench:
        with bench.store.reader() as connection:
            (cut_off,) = queries.interruptions(connection, job.number)
        finish(bench, bench.take())

        assert (cut_off.started_at, cut_off.cause) == (started_at, "stop")
        assert bench.row(job.number).wait_us == 3 * clock.SECOND


def test_too_many_waiting_files_pause_intake_until_they_are_fewer(tmp_path: Path) -> None:
    """
    Ten may wait: the eleventh pauses, nine end it.
    """
    with running(tmp_path, max_waiting=10) as bench:
        for number in range(10):
            failing(bench, f"intent-{number}.json", 3600 if number < 9 else 0.3)
        wait_until(lambda: bench.live.snapshot().gauges.retry_waiting == 10)
        assert not bench.ledger.admission.paused()
        failing(bench, "intent-10.json", 0.3)
        wait_until(bench.ledger.admission.paused)
        assert "11 files wait" in bench.live.snapshot().pauses[PauseReason.RETRIES].message

        jobs = [bench.take(), bench.take()]
        wait_until(lambda: not bench.ledger.admission.paused())
        finish(bench, *jobs)
        assert bench.live.snapshot().gauges.retry_waiting == 9


def test_files_due_at_once_enter_the_queue_only_as_there_is_room(tmp_path: Path) -> None:
    """
    A flood of repeated attempts does not stand before every new file.
    """
    with running(tmp_path, look_ahead=4) as bench:
        due_at = time.monotonic() + 1.0
        for number in range(20):
            failing(bench, f"intent-{number}.json", max(0.0, due_at - time.monotonic()))
        wait_until(lambda: bench.live.snapshot().queue_depth >= 4)
        bench.offer("intent-new.json")
        wait_until(lambda: bench.live.snapshot().queue_depth > 4)
        taken = [bench.take() for _ in range(5)]

        assert [job.attempt for job in taken].count(1) == 1
        finish(bench, *taken)
        finish(bench, *(bench.take() for _ in range(16)))
        assert len(bench.listing("processed")) == 21


class Refusing:
    """
    A writer that cannot write until it may.
    """

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may = threading.Event()
        self.tries: list[Changes] = []
        self._commit = bench.store.writer.commit
        monkeypatch.setattr(bench.store.writer, "commit", self)

    def __call__(self, changes: Changes) -> None:
        self.tries.append(changes)
        if not self.may.is_set():
            raise StoreError("disk full")
        self._commit(changes)


def test_nothing_is_shown_or_filed_before_it_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The store refuses: outcomes wait, intake pauses and says why; when it works again, all of it happens once.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        job = bench.take()
        writer = Refusing(bench, monkeypatch)
        bench.report(job)
        wait_until(lambda: len(writer.tries) >= 3)
        snapshot = bench.live.snapshot()

        assert (snapshot.files_processed_total, snapshot.status_files_total) == (0, 0)
        assert bench.listing("processed") == bench.listing("status") == bench.filed == []
        assert (bench.places.paths.work / job.relative).exists()
        assert snapshot.store_write_errors >= 2
        assert snapshot.pauses[PauseReason.STORE].message == "disk full"
        assert bench.ledger.admission.paused()

        writer.may.set()
        bench.wait_filed(job)
        snapshot = bench.live.snapshot()
        assert (snapshot.files_processed_total, snapshot.status_files_total) == (1, 1)
        assert bench.listing("processed") == ["intent-a.json"]
        assert snapshot.pauses == {}
        assert all(tried is writer.tries[0] for tried in writer.tries[:3])
        assert bench.row(1).outcome == "processed"


def test_claims_wait_for_the_store_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A file is not touched while its row cannot be written.
    """
    with running(tmp_path) as bench:
        writer = Refusing(bench, monkeypatch)
        bench.offer("intent-a.json")
        wait_until(lambda: len(writer.tries) >= 2)
        assert (bench.handoff / "intent-a.json").exists()
        assert bench.live.snapshot().queue_depth == 0
        writer.may.set()
        finish(bench, bench.take())


def test_commit_repeated_after_it_took_place_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The power of the answer was lost, not that of the write.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        job = bench.take()
        commit = bench.store.writer.commit
        failures = iter([True, True])

        def uncertain(changes: Changes) -> None:
            commit(changes)
            if next(failures, False):
                raise StoreError("locked")

        monkeypatch.setattr(bench.store.writer, "commit", uncertain)
        finish(bench, job)

        assert bench.live.snapshot().files_processed_total == 1
        assert bench.live.snapshot().total("outcomes", "processed/") == 1
        assert len(bench.attempts(1)) == 1
        assert len(bench.filed) == 1
