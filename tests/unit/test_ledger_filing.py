"""
From an outcome to a filed file, whatever lies in its way.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections import Counter
from pathlib import Path

import pytest

from conductor_loop import clock
from conductor_loop.ledger import filing, moves, status, syncer
from conductor_loop.ledger import ledger as ledger_module
from conductor_loop.model import Failed, Kind, Rejected, Report, Run, Succeeded
from conductor_loop.store import queries
from conductor_loop.store.queries import FileRow
from ledgers import Bench, running
from waiting import wait_until

FAILED = Failed(Kind.COMMAND_FAILED, "exit code 1")
NOON = 1_795_000_000_000_000  # 2026-11-18T11:06:40Z


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filing, "_AGAIN", 0.02)
    monkeypatch.setattr(ledger_module, "_FLUSH", 0.05)
    monkeypatch.setattr(syncer, "_GAP", 0.02)


def report_together(bench: Bench, *reports: Report) -> None:
    """
    Have all reports come in one turn of the ledger.
    """
    gate, reached = threading.Event(), threading.Event()

    class Hold:
        pass

    def hold(message: object, page: object) -> None:
        reached.set()
        assert gate.wait(10)

    bench.ledger._handlers[Hold] = hold
    bench.ledger.post(Hold())
    assert reached.wait(10)
    for report in reports:
        bench.ledger.admission.report(report)
    gate.set()


def test_taken_target_is_left_alone(tmp_path: Path) -> None:
    """
    The file gets its id into its name; row, status file and directory agree.
    """
    with running(tmp_path) as bench:
        (bench.places.paths.processed / "intent-a.json").write_text("theirs")
        row = bench.process("intent-a.json")
        wanted = f"intent-a-{bench.store.store_id}-1.json"
        wait_until(lambda: bench.row(1).target == wanted)

        assert bench.listing("processed") == sorted(["intent-a.json", wanted])
        assert (bench.places.paths.processed / "intent-a.json").read_text() == "theirs"
        assert bench.status(row)["filed_as"] == wanted
        assert len(bench.listing("status")) == 1
        assert bench.filed[0].filed_as == wanted


def test_taken_target_of_a_failed_file(tmp_path: Path) -> None:
    """
    Its error log lies beside it, under the new name.
    """
    with running(tmp_path) as bench:
        (bench.places.paths.failed / "intent-a.json").write_text("theirs")
        row = bench.process("intent-a.json", FAILED)
        wanted = f"intent-a-{row_id(bench, 1)}.json"

        assert row.target == wanted
        assert bench.listing("failed") == sorted(["intent-a.json", wanted, f"{wanted}.error.log"])
        assert bench.status(row)["filed_as"] == wanted


def row_id(bench: Bench, number: int) -> str:
    return f"{bench.store.store_id}-{number}"


def test_foreign_error_log_is_not_touched(tmp_path: Path) -> None:
    """
    Where it lies, the target's name is taken.
    """
    with running(tmp_path) as bench:
        (bench.places.paths.failed / "intent-a.json.error.log").write_text("theirs")
        row = bench.process("intent-a.json", FAILED)

        assert row.target == f"intent-a-{row_id(bench, 1)}.json"
        assert (bench.places.paths.failed / "intent-a.json.error.log").read_text() == "theirs"
        assert f"{row.target}.error.log" in bench.listing("failed")


@pytest.mark.parametrize("verdict", [FAILED, Rejected(Kind.EMPTY, "empty")])
def test_same_name_failing_twice_in_one_turn(tmp_path: Path, verdict: Failed | Rejected) -> None:
    """
    Both choose their target before either is filed; each keeps its own error log.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        first = bench.take()
        bench.offer("intent-a.json")
        second = bench.take()
        report_together(
            bench, *(Report(job=job, verdict=verdict, finished_at=NOON) for job in (first, second))
        )
        bench.wait_filed(first, second)
        other = f"intent-a-{second.id}.json"

        logs = {name: (bench.places.paths.failed / name).read_text() for name in bench.listing("failed")}
        assert sorted(logs) == sorted(
            ["intent-a.json", "intent-a.json.error.log", other, f"{other}.error.log"]
        )
        assert f"Id:        {first.id}\n" in logs["intent-a.json.error.log"]
        assert f"Id:        {second.id}\n" in logs[f"{other}.error.log"]


def test_file_that_bears_the_name_of_anothers_error_log(tmp_path: Path) -> None:
    """
    It is filed first, and the log that comes after it takes another name.
    """
    with running(tmp_path) as bench:
        bench.ledger.admission.offer([bench.drop("a.error.log", b"precious"), bench.drop("a")])
        log, file = bench.take(), bench.take()
        report_together(bench, *(Report(job=job, verdict=FAILED, finished_at=NOON) for job in (log, file)))
        bench.wait_filed(log, file)

        assert (bench.places.paths.failed / "a.error.log").read_bytes() == b"precious"
        assert len(bench.listing("failed")) == 4


def test_taken_status_name_gets_a_number(tmp_path: Path) -> None:
    """
    Both files ended in the same second.
    """
    with running(tmp_path) as bench:
        jobs = []
        for _ in range(3):
            bench.offer("intent-a.json")
            jobs.append(bench.take())
            bench.ledger.admission.report(
                Report(job=jobs[-1], verdict=Succeeded(), finished_at=NOON, run=run())
            )
            bench.wait_filed(jobs[-1])
        wait_until(lambda: bench.row(3).status_name == "intent-a.json-20261118-110640-3.status")

        assert bench.listing("status") == [
            "intent-a.json-20261118-110640-2.status",
            "intent-a.json-20261118-110640-3.status",
            "intent-a.json-20261118-110640.status",
        ]
        wait_until(lambda: bench.status(bench.row(2))["id"] == jobs[1].id)
        assert [bench.status(bench.row(number))["id"] for number in (1, 2, 3)] == [job.id for job in jobs]


def run() -> Run:
    return Run(started_at=clock.now_us(), duration=0.25, exit_code=0)


@pytest.mark.parametrize("kind", ["file", "directory", "fifo", "symlink", "deep"])
def test_odd_things_under_the_status_name_stop_nothing(tmp_path: Path, kind: str) -> None:
    """
    They are left alone, and the next name is taken.
    """
    with running(tmp_path) as bench:
        taken = bench.places.paths.status / "intent-a.json-20261118-110640.status"
        if kind == "directory":
            taken.mkdir()
        elif kind == "fifo":
            os.mkfifo(taken)
        elif kind == "symlink":
            taken.symlink_to("nowhere")
        else:
            taken.write_text("[" * 200_000 if kind == "deep" else "theirs")
        bench.offer("intent-a.json")
        job = bench.take()
        bench.ledger.admission.report(Report(job=job, verdict=Succeeded(), finished_at=NOON, run=run()))
        bench.wait_filed(job)

        assert bench.listing("status") == ["intent-a.json-20261118-110640-2.status", taken.name]


@pytest.mark.parametrize("folder", ["status", "processed", "failed"])
def test_deleted_directory_is_made_again(tmp_path: Path, folder: str) -> None:
    """
    The file is filed as if nothing had been.
    """
    with running(tmp_path) as bench:
        shutil.rmtree(getattr(bench.places.paths, folder))
        bench.process("intent-a.json")
        bench.process("intent-b.json", FAILED)

        assert bench.listing("processed") == ["intent-a.json"]
        assert bench.listing("failed") == ["intent-b.json", "intent-b.json.error.log"]
        assert len(bench.listing("status")) == 2
        assert state_of(bench, "file_manager") in {None, "healthy"}


def state_of(bench: Bench, component: str) -> str | None:
    condition = bench.live.snapshot().conditions.get(component)
    return None if condition is None else str(condition.state)


class FullDisk:
    """
    A disk without room for status files, or for moves out of the slots.
    """

    def __init__(self, bench: Bench, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = threading.Event()
        self.tries: Counter[str] = Counter()
        self._where = where
        write, rename = status.write, moves.rename_noreplace

        def writing(fd: int, name: str, data: bytes, id: str) -> None:
            self._refuse("status")
            write(fd, name, data, id)

        def renaming(source_fd: int, source: str, target_fd: int, target: str) -> bool:
            if source_fd == bench.places.work_fd:
                self._refuse("move")
            return rename(source_fd, source, target_fd, target)

        monkeypatch.setattr(status, "write", writing)
        monkeypatch.setattr(moves, "rename_noreplace", renaming)

    def _refuse(self, what: str) -> None:
        self.tries[what] += 1
        if not self.room.is_set() and what == self._where:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["status", "move"])
def test_filing_that_fails_is_put_off_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """
    A full disk: the outcome is known and counted, the file follows when there is room, once.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        job = bench.take()
        disk = FullDisk(bench, where, monkeypatch)
        bench.report(job)
        wait_until(lambda: disk.tries[where] >= 3)

        assert state_of(bench, "file_manager") == "unhealthy"
        assert bench.row(1).outcome == "processed"
        assert bench.row(1).filed_at is None
        assert bench.listing("processed") == []
        assert bench.filed == []
        assert not bench.ledger.idle()
        disk.room.set()
        bench.wait_filed(job)
        wait_until(lambda: state_of(bench, "file_manager") == "healthy")
        assert bench.listing("processed") == ["intent-a.json"]
        assert len(bench.listing("status")) == 1
        assert bench.live.snapshot().files_processed_total == 1


def test_stuck_files_do_not_hold_up_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One file's trouble is its own.
    """
    rename = moves.rename_noreplace

    def renaming(source_fd: int, source: str, target_fd: int, target: str) -> None:
        if target == "intent-bad.json":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(source_fd, source, target_fd, target)

    with running(tmp_path) as bench:
        bench.offer("intent-bad.json")
        stuck = bench.take()
        monkeypatch.setattr(moves, "rename_noreplace", renaming)
        bench.report(stuck)
        wait_until(lambda: state_of(bench, "file_manager") == "unhealthy")
        bench.process("intent-good.json")
        assert state_of(bench, "file_manager") == "unhealthy"
        monkeypatch.setattr(moves, "rename_noreplace", rename)
        bench.wait_filed(stuck)


def test_file_that_left_its_slot_is_closed_all_the_same(tmp_path: Path) -> None:
    """
    Somebody took it; its outcome and its status file stand.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        job = bench.take()
        (bench.places.paths.work / job.relative).unlink()
        bench.report(job)
        bench.wait_filed(job)

        assert bench.listing("processed") == []
        assert len(bench.listing("status")) == 1
        assert bench.process("intent-b.json").slot == job.slot


def test_status_file_is_there_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Who watches processed/ finds it; and the outcome is durable before both.
    """
    seen: list[tuple[int, FileRow]] = []
    rename = moves.rename_noreplace

    def watched(source_fd: int, source: str, target_fd: int, target: str) -> None:
        if target_fd == bench.places.processed_fd:
            seen.append((len(bench.listing("status")), bench.row(1)))
        rename(source_fd, source, target_fd, target)

    with running(tmp_path) as bench:
        monkeypatch.setattr(moves, "rename_noreplace", watched)
        bench.process("intent-a.json")

    [(statuses, row)] = seen
    assert statuses == 1
    assert (row.outcome, row.target, row.filed_at) == ("processed", "intent-a.json", None)


def test_row_is_closed_only_after_a_flush_that_followed_the_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Otherwise power loss could undo the move of a file whose row is closed.
    """
    works = threading.Event()
    flushes: list[list[str]] = []
    syncfs = moves.syncfs

    def flushing(fd: int) -> None:
        flushes.append(bench.listing("processed"))
        if not works.is_set():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        syncfs(fd)

    monkeypatch.setattr(moves, "syncfs", flushing)
    with running(tmp_path) as bench:
        bench.process("intent-a.json")
        wait_until(lambda: len(flushes) >= 3)
        assert bench.row(1).filed_at is None
        assert flushes[0] == ["intent-a.json"]
        assert bench.ledger.idle()
        works.set()
        wait_until(lambda: bench.row(1).filed_at)

        with bench.store.reader() as connection:
            assert queries.open_files(connection) == []


def test_stop_closes_the_rows_of_what_is_filed(tmp_path: Path) -> None:
    """
    The next start has nothing to look for.
    """
    with running(tmp_path) as bench:
        for number in range(5):
            bench.process(f"intent-{number}.json")
    with running(tmp_path) as bench:
        assert bench.actions == []
        assert bench.row(5).filed_at is not None


@pytest.mark.parametrize("verdict", [Succeeded(), FAILED])
def test_file_system_without_noreplace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: Succeeded | Failed
) -> None:
    """
    Link and unlink do the same, taken names included.
    """
    monkeypatch.setattr(moves, "_renameat2", lambda *where: errno.EINVAL)
    with running(tmp_path) as bench:
        first = bench.process("intent-a.json", verdict)
        second = bench.process("intent-a.json", verdict)
        folder = "processed" if isinstance(verdict, Succeeded) else "failed"

        assert first.target == "intent-a.json"
        wait_until(lambda: bench.row(2).target == f"intent-a-{row_id(bench, 2)}.json")
        assert second.number == 2
        kept = [name for name in bench.listing(folder) if not name.endswith(".error.log")]
        assert len(kept) == 2
        assert {(tmp_path / "handoff" / folder / name).stat().st_nlink for name in kept} == {1}


def test_failed_directory_that_cannot_be_searched_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whether a name is free cannot be told there: the thread that files must not look for ever.
    """
    stat = os.stat
    closed = threading.Event()
    closed.set()

    def refusing(
        path: str | int, *, dir_fd: int | None = None, follow_symlinks: bool = True
    ) -> os.stat_result:
        if closed.is_set() and dir_fd is not None and dir_fd == bench.places.failed_fd:
            asked.append(str(path))
            if len(asked) > 50:
                closed.clear()
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    asked: list[str] = []
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        job = bench.take()
        monkeypatch.setattr(os, "stat", refusing)
        bench.report(job, FAILED)
        bench.wait_filed(job)
        monkeypatch.undo()

        assert len(asked) < 50
        assert bench.listing("failed") == ["intent-a.json", "intent-a.json.error.log"]
