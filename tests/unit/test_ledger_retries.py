"""
A failed or rejected file tried again: a new file, claimed from failed/.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from conductor_loop import clock
from conductor_loop.errors import (
    BusyError,
    ConductorError,
    ConflictError,
    NotFoundError,
    PausedError,
    StoreError,
)
from conductor_loop.ledger import claims, failed, moves, naming, syncer
from conductor_loop.ledger import ledger as ledger_module
from conductor_loop.ledger.handoff import HandoffKeeper
from conductor_loop.ledger.marks import Marks
from conductor_loop.ledger.opening import open_ledger, remember
from conductor_loop.ledger.places import Places, Slots
from conductor_loop.ledger.retries import Retried
from conductor_loop.metrics.live import Live
from conductor_loop.model import Author, Failed, Identity, Kind, PauseReason, Rejected, Unsettled, Verdict
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.store import queries
from conductor_loop.store.database import Store
from conservation import assert_conserved
from ledgers import Bench, paths_below, running
from surroundings import locked
from waiting import wait_until

BAD = Failed(Kind.COMMAND_FAILED, "exit code 1")
INVALID = Rejected(Kind.MISSING_FIELD, "no target")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_AGAIN", 0.02)
    monkeypatch.setattr(ledger_module, "_FLUSH", 0.01)
    monkeypatch.setattr(ledger_module, "_COMMIT_AGAIN", 0.02)
    monkeypatch.setattr(syncer, "_GAP", 0.01)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with running(tmp_path) as started:
        yield started


def end(bench: Bench, name: str, verdict: Verdict = BAD) -> queries.FileRow:
    """
    Have a file end badly; return its row when it can be tried again.
    """
    fields = {"run": None} if isinstance(verdict, Rejected) else {}
    row = bench.process(name, verdict, **fields)
    wait_until(lambda: bench.row(row.number).filed_at)
    return bench.row(row.number)


def finish(bench: Bench, verdict: Verdict | None = None) -> queries.FileRow:
    """
    Take the next job, report on it and return its row when it is filed for good.
    """
    job = bench.take()
    bench.report(job, verdict)
    bench.wait_filed(job)
    wait_until(lambda: bench.row(job.number).filed_at)
    return bench.row(job.number)


def log_of(bench: Bench, row: queries.FileRow) -> Path:
    assert row.target is not None
    file_id = f"{bench.store.store_id}-{row.number}"
    return bench.places.paths.failed / naming.error_log_name(row.target, file_id)


def count(bench: Bench) -> int:
    with bench.store.reader() as connection:
        return queries.highest_number(connection)


@pytest.mark.parametrize(
    "verdict", [BAD, INVALID, Failed(Kind.POISON, "died 3 times")], ids=["failed", "rejected", "poison"]
)
def test_retry_is_a_new_file_that_knows_the_old_one(bench: Bench, tmp_path: Path, verdict: Verdict) -> None:
    """
    Row, slot, counters; what was told of the old one stays, but for the error log, which says why a file lies there.
    """
    old = end(bench, "intent-a.json", verdict)
    retried = bench.ledger.retry(1)
    job = bench.take()

    assert retried == Retried(
        id=f"{bench.store.store_id}-2",
        number=2,
        retry_of=1,
        name="intent-a.json",
        path=bench.places.paths.failed / "intent-a.json",
    )
    row = bench.row(2)
    assert (row.retry_of, row.found_by, row.attempts, row.interruptions) == (1, "retry", 0, 0)
    assert (job.number, job.name, job.attempt, job.interruptions, job.retry) == (
        2,
        "intent-a.json",
        1,
        0,
        True,
    )
    assert Identity.from_stat(os.stat(job.relative, dir_fd=job.dir_fd)).same_file(old.identity)
    assert bench.listing("failed") == []
    assert bench.row(1) == old
    assert bench.live.snapshot().total("discovered", "retry") == 1
    bench.report(job)
    bench.wait_filed(job)
    assert bench.listing("processed") == ["intent-a.json"]
    assert len(bench.listing("status")) == 2
    wait_until(lambda: bench.row(2).filed_at)
    assert_conserved_after(bench, tmp_path)


def assert_conserved_after(bench: Bench, root: Path) -> None:
    """
    Check the law with the ledger ended; its directories are not in use any more.
    """
    wait_until(bench.ledger.idle)
    bench.ledger.admission.close()
    bench.ledger.request_stop()
    assert bench.ledger.join(Deadline.after(10))
    bench.ledger.close_places()
    assert_conserved(root)


def test_retry_that_fails_again_lies_where_it_was_with_its_own_error_log(
    bench: Bench, tmp_path: Path
) -> None:
    """
    And can be tried again, which the first one cannot.
    """
    end(bench, "intent-a.json")
    bench.ledger.retry(1)
    second = finish(bench, BAD)

    assert (second.target, bench.listing("failed")) == (
        "intent-a.json",
        ["intent-a.json", "intent-a.json.error.log"],
    )
    assert f"{bench.store.store_id}-2\n" in log_of(bench, second).read_text()
    with pytest.raises(ConflictError, match=f"tried again already, as {bench.store.store_id}-2"):
        bench.ledger.retry(1)
    assert bench.ledger.retry(2).number == 3
    finish(bench)
    assert_conserved_after(bench, tmp_path)


def test_dry_run_says_what_it_would_take_and_does_nothing(bench: Bench) -> None:
    """
    As often as one likes.
    """
    end(bench, "intent-a.json")
    retried = [bench.ledger.retry(1, dry_run=True) for _ in range(2)]

    path = bench.places.paths.failed / "intent-a.json"
    assert retried == [Retried(id=None, number=None, retry_of=1, name="intent-a.json", path=path)] * 2
    assert path.exists()
    assert (count(bench), len(bench.ledger.book)) == (1, 0)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("number", [-1, 0, 2, 1 << 70])
def test_unknown_number_is_said(bench: Bench, number: int, dry_run: bool) -> None:
    """
    Whatever number it is.
    """
    end(bench, "intent-a.json")

    with pytest.raises(NotFoundError, match=f"there is no file .*-{number}: there never was"):
        bench.ledger.retry(number, dry_run=dry_run)


def refused(bench: Bench, number: int, words: str) -> None:
    """
    Check that neither a retry nor the trial of one is granted, and that nothing comes of it.
    """
    before = count(bench), sorted(bench.handoff.rglob("*"))
    for dry_run in (True, False):
        with pytest.raises(ConflictError, match=words):
            bench.ledger.retry(number, dry_run=dry_run)
    assert (count(bench), sorted(bench.handoff.rglob("*"))) == before


def test_file_that_is_in_hand_is_not_tried_again(bench: Bench) -> None:
    """
    It has not ended yet.
    """
    bench.offer("intent-a.json")
    job = bench.take()

    refused(bench, 1, r"-1 \(intent-a\.json\) has not ended yet; only failed and rejected files")
    bench.report(job)


def test_processed_file_is_not_tried_again(bench: Bench) -> None:
    """
    Whoever wants that drops it again.
    """
    bench.process("intent-a.json")

    refused(bench, 1, "ended as processed")


def test_file_that_is_gone_from_failed_is_not_tried_again(bench: Bench) -> None:
    """
    The path says where it was looked for.
    """
    end(bench, "intent-a\n.json")
    (bench.places.paths.failed / "intent-a\n.json").unlink()

    refused(bench, 1, r"is no longer there: .*/failed/intent-a\\n\.json")


def test_another_file_under_its_name_is_not_taken(bench: Bench) -> None:
    """
    Without an error log that says otherwise, the inode tells.
    """
    row = end(bench, "intent-a.json")
    log_of(bench, row).unlink()
    path = bench.places.paths.failed / "intent-a.json"
    path.rename(bench.root / "away")
    path.write_text("foreign")

    refused(bench, 1, r"intent-a\.json is not .*-1 \(intent-a\.json\) but another file")


def test_file_of_another_number_is_not_taken_whatever_its_inode(bench: Bench) -> None:
    """
    A deleted file's inode is given to other files; the error log beside says whose it is now.
    """
    row = end(bench, "intent-a.json")
    log = log_of(bench, row)
    log.write_text(log.read_text().replace(f"{bench.store.store_id}-1\n", f"{bench.store.store_id}-77\n"))

    refused(bench, 1, "but another file")


@pytest.mark.parametrize("kind", ["link", "directory", "fifo"])
def test_only_regular_files_are_taken(bench: Bench, kind: str) -> None:
    """
    Whatever the error log says.
    """
    end(bench, "intent-a.json")
    path = bench.places.paths.failed / "intent-a.json"
    path.unlink()
    make = {
        "link": lambda: path.symlink_to("/etc/hostname"),
        "directory": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
    }
    make[kind]()

    refused(bench, 1, "but another file")


@pytest.mark.parametrize("way", ["in place", "by an editor", "without its error log"])
def test_mended_file_is_still_that_file(bench: Bench, way: str) -> None:
    """
    Changed in place it keeps its inode; an editor writes another one, but the error log beside it stays.
    """
    row = end(bench, "intent-a.json")
    path = bench.places.paths.failed / "intent-a.json"
    if way == "by an editor":
        (bench.root / "new").write_text('{"mended": true}')
        (bench.root / "new").replace(path)
    else:
        path.write_text('{"mended": true}')
    if way == "without its error log":
        log_of(bench, row).unlink()
    bench.ledger.retry(1)
    found = path.parent.parent / "work" / "agent" / str(bench.row(2).slot) / "intent-a.json"

    assert found.read_text() == '{"mended": true}'
    assert bench.row(2).identity.ino == found.stat().st_ino
    finish(bench)


@pytest.mark.parametrize("reason", [PauseReason.OPERATOR, PauseReason.DRAIN, PauseReason.DISK])
def test_pause_holds_retries_too(bench: Bench, reason: PauseReason) -> None:
    """
    For any reason; the message says which.
    """
    end(bench, "intent-a.json")
    bench.ledger.change_pause(reason, "maintenance")
    refused(bench, 1, rf"intake is paused \({reason}: maintenance\)")
    with pytest.raises(PausedError):  # by which a client knows that it is no matter of the file
        bench.ledger.retry(1, dry_run=True)

    bench.ledger.change_pause(reason, None)
    assert bench.ledger.retry(1).number == 2
    finish(bench)


def test_file_whose_filing_is_not_flushed_yet_is_asked_for_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Power loss could take it back into its slot, and two rows would claim it.
    """
    with monkeypatch.context() as patched:
        flush = threading.Event()
        syncfs = moves.syncfs
        patched.setattr(moves, "syncfs", lambda fd: (flush.wait(10), syncfs(fd)))
        bench.process("intent-a.json", BAD)
        with pytest.raises(BusyError, match="is just being filed; ask again"):
            bench.ledger.retry(1)
        flush.set()
        wait_until(lambda: bench.row(1).filed_at)

    assert bench.ledger.retry(1).number == 2
    finish(bench)


def test_retries_have_a_look_ahead_of_their_own(tmp_path: Path) -> None:
    """
    New files cannot keep them away, and they cannot keep new files away.
    """
    with running(tmp_path, look_ahead=2) as bench:
        for name in ("a", "b", "c"):
            end(bench, name)
        bench.offer("d", "e")
        wait_until(lambda: bench.live.snapshot().queue_depth == 2)
        bench.ledger.retry(1)
        bench.ledger.retry(2)
        with pytest.raises(BusyError, match=r"agent\.look_ahead allows wait for a worker; ask again"):
            bench.ledger.retry(3)
        assert bench.ledger.admission.room() == 0

        finish(bench)
        finish(bench)
        assert bench.ledger.admission.room() == 2
        finish(bench)
        assert bench.ledger.retry(3).number == 8
        finish(bench)
        finish(bench)


def test_of_several_at_once_one_wins(bench: Bench) -> None:
    """
    All are judged in one batch, before any of them is in the store.
    """
    end(bench, "intent-a.json")

    def ask(_: int) -> Retried | ConductorError:
        try:
            return bench.ledger.retry(1)
        except ConductorError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        with bench.held():
            answers = pool.map(ask, range(8))
            wait_until(lambda: bench.ledger._mailbox.size >= 8)
        found = list(answers)

    won = [one for one in found if isinstance(one, Retried)]
    lost = [str(one) for one in found if isinstance(one, ConflictError)]
    assert (len(won), len(lost)) == (1, 7)
    assert {text.rpartition(" ")[2] for text in lost} == {won[0].id}
    assert count(bench) == 2
    finish(bench)


def test_file_taken_at_the_last_moment_ends_as_vanished_and_that_is_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    Between the commit and the move; put back, it can be tried again.
    """
    end(bench, "intent-a.json")
    path = bench.places.paths.failed / "intent-a.json"
    rename = moves.rename_noreplace

    def too_late(source_fd: int, source: str, target_fd: int, target: str) -> bool:
        if source_fd == bench.places.failed_fd:
            path.rename(tmp_path / "taken")
        return rename(source_fd, source, target_fd, target)

    with monkeypatch.context() as patched:
        patched.setattr(moves, "rename_noreplace", too_late)
        with pytest.raises(ConflictError, match="was taken away before it could be moved to its slot"):
            bench.ledger.retry(1)
    wait_until(lambda: bench.row(2).filed_at)
    assert (bench.row(2).outcome, bench.row(2).retry_of) == ("vanished", 1)
    assert bench.row(2).message == "gone from failed/ before it could be claimed"

    (tmp_path / "taken").rename(path)
    assert bench.ledger.retry(1).number == 3
    finish(bench)
    assert_conserved_after(bench, tmp_path)


def test_move_that_cannot_be_made_yet_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    The retry stands; its file lies where it was meanwhile and is accounted for.
    """
    end(bench, "intent-a.json")
    go_on = threading.Event()
    rename = moves.rename_noreplace

    def refusing(source_fd: int, source: str, target_fd: int, target: str) -> bool:
        if source_fd == bench.places.failed_fd and not go_on.is_set():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(source_fd, source, target_fd, target)

    monkeypatch.setattr(moves, "rename_noreplace", refusing)
    retried = bench.ledger.retry(1)
    checks: list[int] = []
    check = bench.ledger._reconciler.check
    bench.ledger._reconciler.check = lambda places: (check(places), checks.append(1))  # type: ignore[method-assign,assignment,func-returns-value]
    wait_until(lambda: len(checks) >= 2)

    assert retried.number == 2
    assert bench.live.snapshot().gauges.unaccounted == 0
    assert bench.listing("failed") == ["intent-a.json", "intent-a.json.error.log"]
    go_on.set()
    finish(bench)
    assert bench.listing("failed") == []
    assert_conserved_after(bench, tmp_path)


def test_no_room_for_a_slot_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Nothing is entered, and intake goes on.
    """
    end(bench, "intent-a.json")

    def full(self: Slots) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Slots, "take", full)
        with pytest.raises(BusyError, match=r"no slot can be made for .*No space left on device"):
            bench.ledger.retry(1)

    assert (count(bench), bench.live.snapshot().pauses) == (1, {})
    assert bench.ledger.retry(1).number == 2
    finish(bench)


def test_drop_of_the_same_name_has_nothing_to_do_with_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It stays in hand while its own claim waits, and both run.
    """
    # Longer than the retry takes, for every try says anew that the drop is in hand.
    monkeypatch.setattr(claims, "_AGAIN", 0.5)
    end(bench, "intent-a.json")
    go_on = threading.Event()
    rename = moves.rename_noreplace

    def refusing(source_fd: int, source: str, target_fd: int, target: str) -> bool:
        if source_fd == bench.places.handoff_fd and not go_on.is_set():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(source_fd, source, target_fd, target)

    monkeypatch.setattr(moves, "rename_noreplace", refusing)
    bench.offer("intent-a.json")
    wait_until(lambda: count(bench) == 2)
    bench.ledger.retry(1)
    assert bench.ledger.admission.in_hand("intent-a.json")
    first = finish(bench)
    assert (first.number, first.retry_of) == (3, 1)
    go_on.set()
    second = finish(bench)

    assert (second.number, second.retry_of) == (2, None)
    assert not bench.ledger.admission.in_hand("intent-a.json")


def test_unsettled_retry_waits_in_its_slot(bench: Bench) -> None:
    """
    Its writer knows it by its name in failed/, so in the handoff directory nobody would come for it.
    """
    end(bench, "intent-a.json", INVALID)
    bench.ledger.retry(1)
    job = bench.take()
    bench.report(job, Unsettled(delay=0.05, give_back=True), run=None)
    again = bench.take()

    assert (again.number, again.attempt) == (2, 1)
    assert os.stat(again.relative, dir_fd=again.dir_fd).st_size == 2
    bench.report(again)
    bench.wait_filed(again)


def test_name_that_was_changed_for_failed_is_the_original_one_again(bench: Bench) -> None:
    """
    A taken name and one that is too long for its error log.
    """
    long = "intent-" + "l" * 243 + ".json"
    end(bench, "intent-a.json")
    second = end(bench, "intent-a.json")
    third = end(bench, long)
    assert second.target == f"intent-a-{bench.store.store_id}-2.json"
    assert third.target == long

    for number, name in ((2, "intent-a.json"), (3, long)):
        assert bench.ledger.retry(number).name == name
        row = finish(bench)
        assert (row.name, row.target) == (name, name)
    assert bench.listing("failed") == ["intent-a.json", "intent-a.json.error.log"]


def test_file_left_in_a_replaced_handoff_directory_is_not_taken(bench: Bench) -> None:
    """
    Nor one of the same name in the new one.
    """
    end(bench, "intent-a.json")
    bench.handoff.rename(bench.handoff.with_name("handoff.old"))
    bench.handoff.mkdir()
    assert HandoffKeeper(ledger=bench.ledger, path=bench.handoff).on_replaced("replaced") is not None
    with pytest.raises(ConflictError, match="is no longer there"):
        bench.ledger.retry(1)

    end(bench, "intent-a.json")
    with pytest.raises(ConflictError, match="but another file"):
        bench.ledger.retry(1)
    assert bench.ledger.retry(2).number == 3
    finish(bench)


def test_failed_directory_that_outlives_the_handoff_directory_gives_its_files(tmp_path: Path) -> None:
    """
    Where it is configured apart, the file is where it was.
    """
    paths = dataclasses.replace(paths_below(tmp_path), failed=tmp_path / "failed")
    with running(tmp_path, paths=paths) as bench:
        end(bench, "intent-a.json")
        bench.handoff.rename(bench.handoff.with_name("handoff.old"))
        bench.handoff.mkdir()
        assert HandoffKeeper(ledger=bench.ledger, path=bench.handoff).on_replaced("replaced") is not None

        assert bench.ledger.retry(1).path == tmp_path / "failed" / "intent-a.json"
        assert finish(bench).outcome == "processed"


def test_request_that_was_not_begun_in_time_is_withdrawn(bench: Bench) -> None:
    """
    Who is told that nothing was done need not fear that it still will be.
    """
    end(bench, "intent-a.json")
    with bench.held(), pytest.raises(BusyError, match=r"the retry of file 1 was not begun: .* ask again"):
        bench.ledger.retry(1, timeout=0.05)
    bench.ledger.change_pause(PauseReason.DISK, None)  # everything before it was seen by then

    assert (count(bench), len(bench.ledger.book)) == (1, 0)


def test_retry_that_waits_for_the_store_says_so_and_is_done(bench: Bench) -> None:
    """
    It is entered already, so it cannot be withdrawn.
    """
    end(bench, "intent-a.json")
    with (
        locked(bench.root / "state"),
        pytest.raises(StoreError, match="the retry of file 1 waits for the store; it is done once"),
    ):
        bench.ledger.retry(1, timeout=0.5)

    assert finish(bench).retry_of == 1


def test_store_that_cannot_be_read_refuses_and_the_ledger_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One question that takes too long is no reason to stop.
    """
    end(bench, "intent-a.json")

    def failing(connection: object, number: int) -> None:
        raise StoreError("the query took too long")

    with monkeypatch.context() as patched:
        patched.setattr(queries, "retried_as", failing)
        with pytest.raises(StoreError, match="the query took too long"):
            bench.ledger.retry(1)

    assert bench.ledger.retry(1).number == 2
    finish(bench)


def test_ledger_that_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    """
    Nobody would answer.
    """
    with running(tmp_path) as bench:
        bench.ledger.request_stop()
        wait_until(lambda: not bench.ledger.alive)
        with pytest.raises(BusyError, match="the agent is busy or stops"):
            bench.ledger.retry(1, timeout=3600)


def test_error_log_that_cannot_be_removed_stays_and_is_in_nobodys_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What cannot be removed says itself what it is; the next failure gets another name.
    """
    end(bench, "intent-a.json")
    unlink = os.unlink

    def refusing(path: str, *, dir_fd: int | None = None) -> None:
        if path.endswith(".error.log"):
            raise PermissionError(errno.EPERM, "not this one")
        unlink(path, dir_fd=dir_fd)

    with monkeypatch.context() as patched:
        patched.setattr(failed.os, "unlink", refusing)
        bench.ledger.retry(1)
    row = finish(bench, BAD)

    assert row.target == f"intent-a-{bench.store.store_id}-2.json"


def test_files_retried_while_no_agent_runs_wait_for_the_next_start(tmp_path: Path) -> None:
    """
    More of them than the agent looks ahead; they run as any claimed file does.
    """
    names = [f"intent-{number}.json" for number in range(20)]
    with running(tmp_path) as bench:
        for name in names:
            bench.process(name, BAD)
    with (
        closing(Store.open(tmp_path / "state", now=clock.now_us())) as store,
        closing(Places(paths_below(tmp_path), agent="agent", owner="a test")) as places,
        closing(Marks(tmp_path / "state" / "running", count=1, boot="boot")) as marks,
    ):
        live = Live(max_workers=1, command_name="porch")
        # As the command line has it: recovery, but neither workers nor intake.
        ledger = open_ledger(
            remember(store),
            store=store,
            places=places,
            marks=marks,
            left_behind=[],
            live=live,
            author=Author(processed_by="conductor-loop", mode="direct", porch_path="porch"),
            announce=lambda files: None,
            look_ahead=1 << 30,
            max_waiting=1000,
            max_delay=300.0,
            scan_interval=0.02,
        )
        crashes: list[BaseException] = []
        ledger.start(lambda name, error: crashes.append(error))
        retried = [ledger.retry(number) for number in range(1, 21)]
        ledger.request_stop()
        assert ledger.join(Deadline.after(10))
        assert not crashes
        assert live.snapshot().gauges.unaccounted == 0

    assert [one.name for one in retried] == names
    with running(tmp_path, look_ahead=4) as bench:
        rows = [finish(bench) for _ in names]
        assert [row.retry_of for row in rows] == list(range(1, 21))
        assert {row.found_by for row in rows} == {"retry"}
        assert bench.ledger.admission.room() == 4
    assert_conserved(tmp_path, names)


def test_pause_that_is_changed_tells_what_was_before_and_is_durable(bench: Bench) -> None:
    """
    When the call returns, a restart would know it.
    """

    def kept() -> set[str]:
        with bench.store.reader() as connection:
            return set(queries.pauses(connection))

    assert bench.ledger.change_pause(PauseReason.OPERATOR, "maintenance") is None
    assert kept() == {"operator"}
    before = bench.ledger.change_pause(PauseReason.OPERATOR, "still")
    assert before is not None
    assert before.message == "maintenance"
    assert bench.live.snapshot().pauses[PauseReason.OPERATOR].message == "still"
    assert bench.ledger.change_pause(PauseReason.OPERATOR, None) is not None
    assert kept() == set()
    assert bench.ledger.change_pause(PauseReason.OPERATOR, None) is None


def test_pause_that_waits_for_the_store_says_so(bench: Bench) -> None:
    """
    And one that the ledger never came to says that it was not begun.
    """
    with (
        locked(bench.root / "state"),
        pytest.raises(StoreError, match=r"the pause \(operator\) waits for the store"),
    ):
        bench.ledger.change_pause(PauseReason.OPERATOR, "maintenance", timeout=0.5)
    assert bench.ledger.change_pause(PauseReason.OPERATOR, None) is not None

    with (
        bench.held(),
        pytest.raises(BusyError, match=r"the end of the pause \(drain\) was not begun"),
    ):
        bench.ledger.change_pause(PauseReason.DRAIN, None, timeout=0.05)
