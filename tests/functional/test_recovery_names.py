"""
Names that somebody else has taken, and moves that were cut short: nothing is overwritten, nothing is left over.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from conductor_loop.ledger import moves, naming, status
from conductor_loop.ledger.places import Slots
from conductor_loop.ledger.recovery import Claim, Close
from conductor_loop.model import Failed, Kind, Succeeded, Verdict
from conductor_loop.store.changes import Changes
from conservation import assert_conserved
from ledgers import Bench, paths_below, running
from waiting import wait_until

FAILED = Failed(Kind.COMMAND_FAILED, "no such cell")
NAME = "intent-1.json"


@dataclasses.dataclass
class Pause:
    """
    A message that keeps the ledger, so that what comes meanwhile is one batch.
    """

    over: threading.Event = dataclasses.field(default_factory=threading.Event)


def report_in_one_batch(bench: Bench, verdict: Verdict) -> None:
    """
    Take two jobs and have the ledger hear of both in one turn.
    """
    jobs = [bench.take(), bench.take()]
    pause = Pause()
    bench.ledger._handlers[Pause] = lambda message, page: message.over.wait(10)
    bench.ledger.post(pause)
    for job in jobs:
        bench.report(job, verdict)
    pause.over.set()
    wait_until(lambda: len(bench.filed) == len(jobs))


@pytest.mark.parametrize("verdict", [FAILED, Succeeded()])
def test_two_files_of_one_name_that_end_in_one_commit_do_not_meet(tmp_path: Path, verdict: Verdict) -> None:
    """The second gets other names, and the error log of the first stays its own."""
    with running(tmp_path) as bench:
        for _ in range(2):
            bench.offer(NAME)
            wait_until(lambda: not (bench.handoff / NAME).exists())
        report_in_one_batch(bench, verdict)

    assert_conserved(tmp_path, [NAME, NAME])


def test_an_error_log_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    """Taken after the target was chosen, which was when its log's name was free."""
    with running(tmp_path) as bench:
        bench.offer(NAME)
        job = bench.take()
        foreign = bench.places.paths.failed / f"{NAME}.error.log"
        after_the_commit(bench, lambda: foreign.write_text("mine"))
        bench.report(job, FAILED)
        wait_until(lambda: bench.filed)

    assert foreign.read_text() == "mine"
    assert_conserved(tmp_path, [NAME], foreign=[f"failed/{NAME}.error.log"])


def test_a_target_that_is_taken_meanwhile_leaves_no_second_error_log(tmp_path: Path) -> None:
    """The error log written for the first choice goes with it."""
    with running(tmp_path) as bench:
        bench.offer(NAME)
        job = bench.take()
        foreign = bench.places.paths.failed / NAME
        after_the_commit(bench, lambda: foreign.write_text("mine"))
        bench.report(job, FAILED)
        wait_until(lambda: bench.filed)

    assert foreign.read_text() == "mine"
    assert_conserved(tmp_path, [NAME], foreign=[f"failed/{NAME}"])


def test_a_status_name_taken_meanwhile_is_said_in_the_row_even_if_the_agent_stops(tmp_path: Path) -> None:
    """The correction of the row belongs to the file's end, not to the next turn that never comes."""
    with running(tmp_path) as bench:
        bench.offer(NAME)
        job = bench.take()
        names: list[str] = []
        after_the_commit(bench, lambda: names.append(take_status_name(bench)), stop=True)
        bench.report(job)
        wait_until(lambda: bench.filed)

    assert (paths_below(tmp_path).status / names[0]).read_text() == "mine"
    (row,) = assert_conserved(tmp_path, [NAME], foreign=[f"status/{names[0]}"])
    assert row["status_name"].endswith("-2.status")


def take_status_name(bench: Bench) -> str:
    name = bench.row(1).status_name
    assert name is not None
    (bench.places.paths.status / name).write_text("mine")
    return name


def after_the_commit(bench: Bench, action: Callable[[], object], *, stop: bool = False) -> None:
    """
    Do `action` once the next commit is durable and before anything that follows from it.
    """
    commit = bench.store.writer.commit

    def then(changes: Changes) -> None:
        commit(changes)
        bench.store.writer.commit = commit  # type: ignore[method-assign]
        action()
        if stop:
            bench.ledger._stop.set()

    bench.store.writer.commit = then  # type: ignore[method-assign]


def test_a_status_file_under_two_names_is_not_written_through(tmp_path: Path) -> None:
    """Where a move is link and unlink, death in between leaves the temporary name on a finished status file."""
    temporary = tmp_path / f"{status.TEMPORARY}s-1"
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        status.write(fd, "first.status", b"first", "s-1")
        os.link(tmp_path / "first.status", temporary)
        status.write(fd, "second.status", b"second", "s-1")
    finally:
        os.close(fd)

    assert (tmp_path / "first.status").read_bytes() == b"first"
    assert (tmp_path / "second.status").read_bytes() == b"second"
    assert not temporary.exists()


def test_a_claim_cut_short_between_link_and_unlink_is_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has both names then: it is the claimed one, and intake must not find it again."""
    monkeypatch.setattr(moves, "_renameat2", lambda *args: errno.EINVAL)
    with running(tmp_path) as bench:
        bench.offer(NAME)
        bench.take()
    (claimed,) = paths_below(tmp_path).work.glob(f"*/*/{NAME}")
    os.link(claimed, paths_below(tmp_path).handoff / NAME)

    with running(tmp_path) as bench:
        assert not (bench.handoff / NAME).exists()
        bench.report(bench.take())
        wait_until(lambda: bench.filed)
    assert_conserved(tmp_path, [NAME])


def test_a_claim_whose_slot_was_lost_is_not_offered_again_meanwhile(tmp_path: Path) -> None:
    """Power loss may take a new slot's directory: the row's file is in hand until its claim is carried out."""
    with running(tmp_path) as bench:
        bench.offer(NAME)
        job = bench.take()
    slot = paths_below(tmp_path).work / "agent" / str(job.slot)
    os.rename(slot / NAME, paths_below(tmp_path).handoff / NAME)
    slot.rmdir()

    with running(tmp_path) as bench:
        assert [type(action) for action in bench.actions] == [Claim]
        assert bench.ledger.admission.in_hand(NAME) or not (bench.handoff / NAME).exists()
        bench.report(bench.take())
        wait_until(lambda: bench.filed)
        assert not bench.ledger.admission.in_hand(NAME)
    assert_conserved(tmp_path, [NAME])


def test_a_slot_held_by_a_row_whose_directory_is_gone_is_not_given_out(tmp_path: Path) -> None:
    """Nor does a directory that somebody made end the making of slots."""
    slots = Slots(tmp_path, "agent")
    slots.hold(2)
    (tmp_path / "agent" / "4").mkdir()

    assert [slots.take(), slots.take()] == [3, 5]


def test_a_file_found_filed_is_marked_so_only_after_a_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dead agent may have moved it a moment ago: closing its row before the move is durable would lose it."""
    leave_unmarked(tmp_path)
    flush = moves.syncfs

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "not now")

    monkeypatch.setattr(moves, "syncfs", fail)
    with running(tmp_path) as bench:
        assert [type(action) for action in bench.actions] == [Close]
        assert bench.row(1).filed_at is None
        monkeypatch.setattr(moves, "syncfs", flush)
        wait_until(lambda: bench.row(1).filed_at)
    assert_conserved(tmp_path, [NAME])


def test_a_status_file_that_cannot_be_rewritten_at_start_does_not_stop_the_agent(tmp_path: Path) -> None:
    """A full disk at start: the row is closed later, when the file could be written."""
    leave_unmarked(tmp_path)
    (path,) = paths_below(tmp_path).status.iterdir()
    file_id = json.loads(path.read_text())["id"]
    path.unlink()

    blocker = paths_below(tmp_path).status / f"{status.TEMPORARY}{file_id}"
    blocker.mkdir()  # for root, whom permissions do not stop
    with running(tmp_path) as bench:
        assert bench.row(1).filed_at is None
        blocker.rmdir()
        wait_until(lambda: bench.row(1).filed_at)
    assert_conserved(tmp_path, [NAME])


def leave_unmarked(root: Path) -> None:
    """
    Leave a file that is filed and whose row does not say so.
    """
    with running(root) as bench:
        bench.offer(NAME)
        bench.ledger._finish = lambda: None  # type: ignore[method-assign]
        bench.report(bench.take())
        wait_until(lambda: bench.filed)


def test_names_with_ids_are_free_of_error_logs() -> None:
    """A name given for a taken one has room for its error log."""
    long = "intent-" + "x" * 240 + ".json"

    assert len(naming.error_log_name(naming.with_id(long, "0123456789-1"), "0123456789-1").encode()) <= 255
