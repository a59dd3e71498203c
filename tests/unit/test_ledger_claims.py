"""
From an offered file to a job: the row first, then the move.
"""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from conductor_loop.ledger import claims, moves
from conductor_loop.ledger.places import Slots
from conductor_loop.model import FoundBy, Identity, Interrupted
from conductor_loop.store import queries
from conductor_loop.store.queries import FileRow
from ledgers import Bench, running
from waiting import wait_until


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_AGAIN", 0.02)


def names_in(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_file())


def test_claimed_file_lies_in_a_slot_and_its_row_says_where(tmp_path: Path) -> None:
    """
    The row is what recovery goes by.
    """
    with running(tmp_path) as bench:
        arrival = bench.drop("intent-a.json")
        bench.ledger.admission.offer([arrival])
        job = bench.take()
        row = bench.row(1)

        assert (row.number, row.name, row.agent, row.slot) == (1, "intent-a.json", "agent", job.slot)
        assert (row.identity, row.found_by) == (arrival.identity, FoundBy.EVENT)
        assert (row.discovered_at, row.outcome, row.filed_at) == (arrival.discovered_at, None, None)
        assert row.claimed_at >= row.discovered_at
        assert names_in(bench.handoff) == []
        moved = os.stat(job.relative, dir_fd=job.dir_fd)
        assert Identity.from_stat(moved).same_file(arrival.identity)
        bench.report(job)


def test_job_tells_the_worker_everything(tmp_path: Path) -> None:
    """
    Without a look into the store.
    """
    with running(tmp_path) as bench:
        arrival = bench.drop("intent-a.json")
        bench.ledger.admission.offer([arrival])
        job = bench.take()

        assert job.id == f"{bench.store.store_id}-1"
        assert (job.attempt, job.interruptions, job.name) == (1, 0, "intent-a.json")
        assert job.relative == f"agent/{job.slot}/intent-a.json"
        assert job.unchanged_since == arrival.identity.ctime_ns // 1000
        bench.report(job)


def test_row_is_committed_before_the_file_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A crash in between leaves a row that recovery carries out, never a file in a slot that nobody knows.
    """
    with running(tmp_path) as bench:
        seen: list[FileRow | None] = []
        rename = moves.rename_noreplace

        def watched(source_fd: int, source: str, target_fd: int, target: str) -> None:
            if source_fd == bench.places.handoff_fd:
                with bench.store.reader() as connection:
                    seen.append(queries.file(connection, 1))
            rename(source_fd, source, target_fd, target)

        monkeypatch.setattr(moves, "rename_noreplace", watched)
        bench.process("intent-a.json")

        assert len(seen) == 1
        assert seen[0] is not None
        assert (seen[0].name, seen[0].outcome) == ("intent-a.json", None)


def test_files_are_queued_in_the_order_of_the_offer(tmp_path: Path) -> None:
    """
    First come, first served; numbers go by it.
    """
    with running(tmp_path) as bench:
        bench.offer("c", "a", "b")
        jobs = [bench.take() for _ in range(3)]

        assert [(job.number, job.name) for job in jobs] == [(1, "c"), (2, "a"), (3, "b")]
        assert len({job.slot for job in jobs}) == 3
        for job in jobs:
            bench.report(job)


def test_file_that_is_gone_ends_as_vanished(tmp_path: Path) -> None:
    """
    With a row, without a status file, and its slot is free again.
    """
    with running(tmp_path) as bench:
        arrival = bench.drop("intent-a.json")
        (bench.handoff / "intent-a.json").unlink()
        bench.ledger.admission.offer([arrival])
        wait_until(lambda: bench.filed)
        row = bench.row(1)

        assert (row.outcome, row.kind, row.target, row.status_name) == ("vanished", "vanished", None, None)
        assert (row.attempts, row.duration_us) == (0, None)
        assert bench.listing("status") == bench.listing("processed") == bench.listing("failed") == []
        assert not bench.ledger.admission.in_hand("intent-a.json")
        assert bench.process("intent-b.json").slot == row.slot
        snapshot = bench.live.snapshot()
        assert snapshot.total("outcomes", "vanished/vanished") == 1
        assert (snapshot.files_failed_total, snapshot.status_files_total) == (0, 1)


def test_same_name_again_while_the_first_is_running(tmp_path: Path) -> None:
    """
    It is another file, in another slot, with another number.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json")
        first = bench.take()
        bench.offer("intent-a.json")
        second = bench.take()

        assert (first.number, second.number) == (1, 2)
        assert first.slot != second.slot
        bench.report(first)
        bench.report(second)
        bench.wait_filed(first, second)
        assert bench.listing("processed") == sorted(["intent-a.json", f"intent-a-{second.id}.json"])


def test_same_name_twice_in_one_offer_runs_once(tmp_path: Path) -> None:
    """
    There is one file: one claim gets it, the other finds nothing.
    """
    with running(tmp_path) as bench:
        arrival = bench.drop("intent-a.json")
        bench.ledger.admission.offer([arrival, arrival])
        job = bench.take()
        bench.report(job)
        bench.wait_filed(job)
        wait_until(lambda: len(bench.filed) == 2)

        assert [bench.row(number).outcome for number in (1, 2)] == ["processed", "vanished"]


def test_slot_directory_that_somebody_deleted_is_made_again(tmp_path: Path) -> None:
    """
    The claim waits for it and the file is not taken for vanished.
    """
    with running(tmp_path) as bench:
        row = bench.process("intent-a.json")
        (bench.places.paths.work / "agent" / str(row.slot)).rmdir()

        assert bench.process("intent-b.json").outcome == "processed"


def test_no_room_for_a_slot_leaves_the_file_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nothing is entered, nothing lost; it may be offered again.
    """
    with running(tmp_path) as bench:

        def full(self: Slots) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr(Slots, "take", full)
            bench.offer("intent-a.json")
            wait_until(lambda: not bench.ledger.admission.in_hand("intent-a.json"))
        assert names_in(bench.handoff) == ["intent-a.json"]
        with bench.store.reader() as connection:
            assert queries.highest_number(connection) == 0

        assert bench.process("intent-a.json").number == 1


def test_claim_that_cannot_be_carried_out_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Its row stands, its file waits in the handoff directory, in hand: no scan offers it twice.
    """
    go_on = threading.Event()
    rename = moves.rename_noreplace

    def refusing(source_fd: int, source: str, target_fd: int, target: str) -> bool:
        if source.startswith("intent-") and not go_on.is_set():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(source_fd, source, target_fd, target)

    monkeypatch.setattr(moves, "rename_noreplace", refusing)
    with running(tmp_path) as bench:
        bench.offer("intent-a.json", "intent-b.json")
        wait_until(lambda: highest(bench) == 2)
        wait_until(lambda: len(bench.ledger.book) == 2)
        assert bench.ledger.admission.in_hand("intent-a.json")
        assert bench.live.snapshot().queue_depth == 0
        go_on.set()
        jobs = [bench.take(), bench.take()]
        for job in jobs:
            bench.report(job)
        bench.wait_filed(*jobs)

        assert bench.listing("processed") == ["intent-a.json", "intent-b.json"]
        assert highest(bench) == 2


def highest(bench: Bench) -> int:
    with bench.store.reader() as connection:
        return queries.highest_number(connection)


def test_nothing_in_the_slot_is_overwritten(tmp_path: Path) -> None:
    """
    Somebody put a file of that name there: the claim waits until it is gone.
    """
    with running(tmp_path) as bench:
        slot = bench.process("intent-a.json").slot
        foreign = bench.places.paths.work / "agent" / str(slot) / "intent-b.json"
        foreign.write_text("foreign")
        bench.offer("intent-b.json")
        wait_until(lambda: highest(bench) == 2)
        assert foreign.read_text() == "foreign"
        foreign.unlink()
        job = bench.take()
        bench.report(job)
        bench.wait_filed(job)

        assert (bench.places.paths.processed / "intent-b.json").read_text() == "{}"


def test_discoveries_count_by_what_found_them(tmp_path: Path) -> None:
    """
    In the transaction of the claim.
    """
    with running(tmp_path) as bench:
        bench.process("intent-a.json")

        assert bench.live.snapshot().total("discovered", "event") == 1
        assert bench.live.snapshot().total("claimed") == 1


def test_stop_leaves_claimed_files_in_their_slots(tmp_path: Path) -> None:
    """
    The next start runs them: no attempt, no failure, the same number.
    """
    with running(tmp_path) as bench:
        bench.offer("intent-a.json", "intent-b.json")
        first = bench.take()
        bench.report(first, Interrupted(), run=None)
    with running(tmp_path) as bench:
        jobs = [bench.take(), bench.take()]

        assert [(job.number, job.attempt, job.interruptions) for job in jobs] == [(1, 1, 0), (2, 1, 0)]
        assert jobs[0].slot == first.slot
        for job in jobs:
            bench.report(job)
        bench.wait_filed(*jobs)
        assert bench.listing("processed") == ["intent-a.json", "intent-b.json"]


@pytest.mark.parametrize(
    "name", ["with\nnewline.json", os.fsdecode(b"intent-\xff.json"), "x" * 255, "ä" * 127]
)
def test_any_name_goes_all_the_way(tmp_path: Path, name: str) -> None:
    """
    Through row, slot, status file and target.
    """
    with running(tmp_path) as bench:
        row = bench.process(name)

        assert row.name == row.target == name
        assert bench.listing("processed") == [name]
        assert bench.status(row)["id"] == f"{bench.store.store_id}-1"
