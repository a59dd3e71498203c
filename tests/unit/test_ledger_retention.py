"""
The deletion of old files: what goes, what stays, and that nothing is passed over.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import store_rows as rows
from conductor_loop import clock
from conductor_loop.ledger import naming
from conductor_loop.ledger.book import Note
from conductor_loop.ledger.clock_guard import ClockGuard
from conductor_loop.ledger.places import Paths
from conductor_loop.ledger.retention import Retention
from conductor_loop.metrics.live import Live
from conductor_loop.model import FoundBy, Identity, Kind, Outcome
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.store import queries
from conductor_loop.store.changes import Changes, ClaimRow, EndRow, IdentityRow
from conductor_loop.store.database import Store
from ledgers import paths_below, running
from waiting import wait_until

DAY = 86_400 * clock.SECOND
NOW = rows.NOW + 1000 * DAY
KEEP = {"keep_processed": 30 * 86_400.0, "keep_failed": 400 * 86_400.0, "keep_status": 60 * 86_400.0}


@dataclass
class Attic:
    """
    Directories of filed files with their rows, and what deletes there; the test is the ledger.
    """

    store: Store
    paths: Paths
    now: int = NOW
    answers: bool = True
    kept: dict[str, float] = field(default_factory=lambda: dict(KEEP))
    uptime: float = 1000.0
    number: int = 0

    def file(
        self,
        name: str,
        age: float,
        outcome: Outcome = Outcome.PROCESSED,
        *,
        filed: bool = True,
        retry_of: int | None = None,
        source: Path | None = None,
    ) -> int:
        """
        File something that ended `age` days ago; return its number.

        Args:
            filed: whether it is where it belongs, and its row says so.
            source: a file to be moved there, instead of a new one.
        """
        self.number += 1
        number, file_id = self.number, f"{self.store.store_id}-{self.number}"
        folder = self.paths.processed if outcome is Outcome.PROCESSED else self.paths.failed
        path = folder / name
        if source is not None:
            source.rename(path)
        elif filed:
            path.write_bytes(b"{}")
        found = Identity.from_stat(path.lstat()) if filed else rows.claim().identity
        ended_at = self.now - round(age * DAY)
        status_name = naming.status_name(name, file_id, ended_at)
        if filed:
            (self.paths.status / status_name).write_text(json.dumps({"id": file_id}))
            if outcome is not Outcome.PROCESSED:
                (folder / f"{name}.error.log").write_text(f"File: {name}\nId:        {file_id}\nKind: x\n")
        found_by = FoundBy.EVENT if retry_of is None else FoundBy.RETRY
        self.store.writer.commit(
            Changes(
                claims=[
                    ClaimRow(number, name, "agent", 1, found, found_by, ended_at, ended_at, retry_of=retry_of)
                ],
                ends=[
                    EndRow(
                        number=number,
                        outcome=outcome,
                        kind=None if outcome is Outcome.PROCESSED else Kind.TIMEOUT,
                        message="",
                        finished_at=ended_at,
                        attempts=1,
                        size=found.size,
                        target=name,
                        status_name=status_name,
                    )
                ],
                filed=[rows.filed(number)] if filed else [],
            )
        )
        return number

    def retention(self, guard: ClockGuard | None = None) -> Retention:
        """
        Return what a start of the agent makes.
        """
        totals = self.totals()
        return Retention(
            reader=self.store.reader,
            store_id=self.store.store_id,
            totals=totals,
            paths=self.paths,
            post=self.post,
            guard=guard or self.guard(),
            now=lambda: self.now,
            **self.kept,
        )

    def guard(self, live: Live | None = None) -> ClockGuard:
        live = live or Live(max_workers=1, command_name="porch")
        return ClockGuard(totals=self.totals(), live=live, now=lambda: self.now, uptime=lambda: self.uptime)

    def totals(self) -> Mapping[tuple[str, str], int]:
        with self.store.reader() as connection:
            return queries.totals(connection)

    def post(self, message: object) -> None:
        """
        Do what the ledger does with a note.
        """
        assert isinstance(message, Note)
        if self.answers and message.begin():
            self.store.writer.commit(Changes(totals=message.values))
            message.answer(None)

    def round(self, retention: Retention | None = None) -> None:
        """
        Delete once, as far as there is something to delete.
        """
        (retention or self.retention()).round(threading.Event())

    def names(self, folder: str) -> list[str]:
        return sorted(os.listdir(getattr(self.paths, folder)))


@pytest.fixture
def attic(tmp_path: Path) -> Iterator[Attic]:
    paths = paths_below(tmp_path)
    for folder in (paths.processed, paths.failed, paths.status):
        folder.mkdir(parents=True)
    state = tmp_path / "state"
    state.mkdir()
    with closing(Store.open(state, now=rows.NOW)) as store:
        yield Attic(store, paths)


def test_each_kind_goes_at_its_own_age(attic: Attic) -> None:
    """
    Processed files after 30 days, failed and rejected ones with their logs after 400, status files after 60.
    """
    attic.file("failed", 401, Outcome.FAILED)
    attic.file("rejected", 401, Outcome.REJECTED)
    attic.file("failed-young", 399, Outcome.FAILED)
    attic.file("old", 61)
    attic.file("middle", 31)
    attic.file("young", 29)
    attic.round()

    assert attic.names("processed") == ["young"]
    assert attic.names("failed") == ["failed-young", "failed-young.error.log"]
    assert [name.split("-2")[0] for name in attic.names("status")] == ["middle", "young"]


def test_names_that_are_no_text_are_deleted_as_well(attic: Attic) -> None:
    """
    The row has the raw bytes.
    """
    attic.file(os.fsdecode(b"intent-\xff\n.json"), 70)
    attic.round()

    assert attic.names("processed") == []
    assert attic.names("status") == []


def test_nothing_goes_where_files_are_kept_for_ever(attic: Attic) -> None:
    """
    "0" is for ever, whatever the others are; a change holds at once.
    """
    attic.kept |= {"keep_processed": 0.0, "keep_failed": 0.0}
    attic.file("old", 900)
    attic.file("bad", 900, Outcome.FAILED)
    retention = attic.retention()
    attic.round(retention)

    assert attic.names("processed") == ["old"]
    assert attic.names("failed") == ["bad", "bad.error.log"]
    assert attic.names("status") == []

    retention.configure(keep_processed=1.0, keep_failed=0.0, keep_status=0.0)
    attic.round(retention)

    assert attic.names("processed") == []
    assert attic.names("failed") == ["bad", "bad.error.log"]


def _other_inode(path: Path) -> None:
    other = path.with_name("other")
    shutil.copy2(path, other)
    other.rename(path)


def _changed(path: Path) -> None:
    found = path.stat()
    path.write_bytes(b"{} ")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def _touched(path: Path) -> None:
    os.utime(path, (1, 1))


def _link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [_other_inode, _changed, _touched, _link, _directory, _fifo])
def test_what_is_not_what_was_filed_stays(
    attic: Attic, change: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """
    Another file, a changed one, no file at all: it is left alone for ever and counted.
    """
    attic.file("intent.json", 100)
    attic.file("next", 90)
    change(attic.paths.processed / "intent.json")
    service = attic.retention()
    with caplog.at_level(logging.INFO):
        service.start(lambda name, error: None)
        wait_until(lambda: "left alone" in caplog.text or not (attic.paths.processed / "next").exists())
        service.request_stop()
        assert service.join(Deadline.after(5))

    assert "intent.json" in attic.names("processed")
    assert "next" not in attic.names("processed")
    assert "processed: 1 old files deleted, 1 left alone" in caplog.text


def test_status_files_and_error_logs_of_others_stay(attic: Attic) -> None:
    """
    Only the id inside tells whose they are; broken ones are nobody's.
    """
    attic.file("intent.json", 401, Outcome.FAILED)
    attic.file("second", 401, Outcome.FAILED)
    log = attic.paths.failed / "intent.json.error.log"
    log.write_text("File: x\nId:        somebody-else-1\n")
    one, two = (attic.paths.status / name for name in attic.names("status"))
    one.write_text(json.dumps({"id": "somebody-else-1"}))
    two.write_text("{")
    attic.round()

    assert attic.names("failed") == [log.name]
    assert attic.names("status") == [one.name, two.name]


def test_a_file_that_was_tried_again_belongs_to_the_newer_row(attic: Attic) -> None:
    """
    It failed again and lies under its old name: what counts is when it failed last.
    """
    first = attic.file("intent.json", 401, Outcome.FAILED)
    (attic.paths.failed / "intent.json.error.log").unlink()
    attic.file("intent.json", 10, Outcome.FAILED, retry_of=first, source=attic.paths.failed / "intent.json")
    attic.round()

    assert attic.names("failed") == ["intent.json", "intent.json.error.log"]


def test_a_file_that_is_filed_late_is_not_passed_over(attic: Attic) -> None:
    """
    Others go on meanwhile; neither the same run nor a later one forgets it.
    """
    late = [attic.file(name, 100, filed=False) for name in ("same", "later")]
    attic.file("next", 90)
    retention = attic.retention()
    attic.round(retention)
    assert attic.names("processed") == []

    _file_late(attic, late[0], "same")
    attic.round(retention)
    attic.round(retention)
    assert attic.names("processed") == []

    _file_late(attic, late[1], "later")
    attic.round()
    assert attic.names("processed") == []


def test_a_longer_age_holds_for_passed_files_as_well(attic: Attic) -> None:
    """
    Whoever reloads a longer age finds the file that was about to go.
    """
    late = attic.file("late", 100, filed=False)
    retention = attic.retention()
    attic.round(retention)
    _file_late(attic, late, "late")
    retention.configure(**KEEP | {"keep_processed": 200 * 86_400.0})
    attic.round(retention)
    assert attic.names("processed") == ["late"]

    retention.configure(**KEEP)
    attic.round(retention)
    assert attic.names("processed") == []


@pytest.mark.parametrize("passed", [False, True])
def test_nothing_is_deleted_while_the_clock_is_doubted(attic: Attic, passed: bool) -> None:
    """
    Neither new ones nor those that were passed; it goes on by itself a day later.
    """
    number = attic.file("old", 100, filed=not passed)
    retention = attic.retention()
    if passed:
        attic.round(retention)
        _file_late(attic, number, "old")
    attic.now += 2 * DAY
    attic.round(retention)
    assert attic.names("processed") == ["old"]

    attic.uptime += 25 * 3600
    attic.now += 25 * 3600 * clock.SECOND
    attic.round(retention)
    assert attic.names("processed") == []


def _file_late(attic: Attic, number: int, name: str) -> None:
    path = attic.paths.processed / name
    path.write_bytes(b"{}")
    identity = Identity.from_stat(path.stat())
    attic.store.writer.commit(Changes(identities=[IdentityRow(number, identity)], filed=[rows.filed(number)]))


def test_the_next_start_goes_on_where_the_last_one_was(attic: Attic) -> None:
    """
    What was walked through is not looked at again: a file put back there stays.
    """
    attic.file("old", 100)
    attic.file("next", 50)
    os.link(attic.paths.processed / "old", attic.paths.handoff / "kept")
    service = attic.retention()
    service.start(lambda name, error: None)
    wait_until(lambda: not attic.names("processed"))
    service.request_stop()
    assert service.join(Deadline.after(5))
    os.link(attic.paths.handoff / "kept", attic.paths.processed / "old")
    attic.file("newer", 40)
    attic.round()

    assert attic.names("processed") == ["old"]
    assert attic.totals()["deleted_until", "processed"] == NOW - 50 * DAY


def test_files_with_one_end_are_all_walked_through(attic: Attic) -> None:
    """
    A clock that stands still, and more files than a slice has.
    """
    for number in range(60):
        attic.file(f"intent-{number}", 31)
        if number < 55:  # so that it is quick
            (attic.paths.processed / f"intent-{number}").unlink()
    attic.round()

    assert attic.names("processed") == []


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("days_back", [10, 35, 900])
def test_files_of_a_clock_that_was_set_back_go_at_their_age(
    attic: Attic, days_back: int, restarted: bool
) -> None:
    """
    Also where they end before others that were deleted long ago.
    """
    attic.kept["keep_processed"] = 20 * 86_400.0
    attic.file("before", 21)
    retention = attic.retention(_trusting())
    attic.round(retention)
    attic.now -= days_back * DAY
    attic.round(attic.retention() if restarted else retention)
    attic.file("after", 0)
    if restarted:
        retention = attic.retention(_trusting())
    attic.now += 19 * DAY
    attic.round(retention)
    assert attic.names("processed") == ["after"]

    attic.now += 2 * DAY
    attic.round(retention)
    assert attic.names("processed") == []


def _trusting() -> ClockGuard:
    """
    Return a guard that sees no clock move.
    """
    live = Live(max_workers=1, command_name="porch")
    return ClockGuard(totals={}, live=live, now=lambda: NOW, uptime=lambda: 0.0)


def test_a_missing_directory_is_waited_for(attic: Attic) -> None:
    """
    Its rows are not passed meanwhile, and the other kinds go on.
    """
    attic.file("old", 100)
    attic.paths.processed.rename(attic.paths.processed.with_name("elsewhere"))
    retention = attic.retention()
    attic.round(retention)
    assert attic.names("status") == []

    attic.paths.processed.with_name("elsewhere").rename(attic.paths.processed)
    attic.round(retention)
    assert attic.names("processed") == []


def test_a_file_that_cannot_be_deleted_stops_no_other(attic: Attic, caplog: pytest.LogCaptureFixture) -> None:
    """
    It is said, tried again, and not passed by the cursor that the next start begins with.
    """
    attic.file("old", 100)
    attic.store.writer.commit(
        Changes(
            claims=[rows.claim(50)],
            ends=[
                rows.end(50, finished_at=NOW - 99 * DAY, target="x" * 300)
            ],  # no file system has such names
            filed=[rows.filed(50)],
        )
    )
    attic.number = 50
    attic.file("next", 90)
    retention = attic.retention()
    for _ in range(3):
        attic.round(retention)

    assert attic.names("processed") == []
    assert caplog.text.count("name too long") == 1
    assert attic.totals()["deleted_until", "processed"] == NOW - 99 * DAY


def test_nothing_is_deleted_while_the_ledger_does_not_answer(attic: Attic) -> None:
    """
    What was reported and is not in the rows yet could be passed over; a stop does not wait for it.
    """
    attic.file("old", 100)
    attic.answers = False
    service = attic.retention()
    service.start(lambda name, error: None)
    threading.Event().wait(0.3)
    began = time.monotonic()
    service.request_stop()

    assert service.join(Deadline.after(5))
    assert time.monotonic() - began < 1
    assert attic.names("processed") == ["old"]


def test_deletion_is_slow_and_stops_at_once(attic: Attic) -> None:
    """
    A slice of fifty files, then a rest as if that had taken 2.5 s; it ends with the service.
    """
    attic.kept |= {"keep_failed": 0.0, "keep_status": 0.0}
    for number in range(80):
        attic.file(f"intent-{number}", 31)
    service = attic.retention()
    service.start(lambda name, error: None)
    wait_until(lambda: len(attic.names("processed")) == 30)
    threading.Event().wait(0.5)
    began = time.monotonic()
    service.request_stop()
    assert service.join(Deadline.after(5))
    stopped = time.monotonic() - began

    assert len(attic.names("processed")) == 30
    assert stopped < 0.5


def test_the_ledger_keeps_what_it_is_told(tmp_path: Path) -> None:
    """
    Durable when it answers, and the counters beside it stay as they are.
    """
    with running(tmp_path) as bench:
        note = Note({("deleted_until", "processed"): 7})
        bench.ledger.post(note)
        note.wait(5, lambda: True)
        with bench.store.reader() as connection:
            assert queries.totals(connection)["deleted_until", "processed"] == 7
        bench.process("intent-1.json")
        with bench.store.reader() as connection:
            totals = queries.totals(connection)

    assert totals["deleted_until", "processed"] == 7
    assert totals["claimed", ""] == 1


def test_a_store_that_cannot_be_read_is_waited_for(attic: Attic, caplog: pytest.LogCaptureFixture) -> None:
    """
    The service goes on, and says once why nothing is deleted.
    """
    attic.file("old", 100)
    attic.kept["keep_processed"] = 1.0  # so that rounds follow each other soon
    service = attic.retention()
    crashes: list[BaseException] = []
    away = attic.store.path.rename(attic.store.path.with_name("away"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attic, "post", lambda note: note.begin() and note.answer(None))
        patch.setattr(service, "_post", attic.post)
        service.start(lambda name, error: crashes.append(error))
        wait_until(lambda: "cannot be opened" in caplog.text)
        away.rename(attic.store.path)
        wait_until(lambda: attic.names("processed") == [])
        service.request_stop()
        assert service.join(Deadline.after(5))

    assert crashes == []
    assert caplog.text.count("trying again") == 1
