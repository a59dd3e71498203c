from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conductor_loop import clock
from conductor_loop.model import (
    Again,
    Blocked,
    Failed,
    Interrupted,
    Job,
    Kind,
    PauseReason,
    Rejected,
    Report,
    Succeeded,
    Unsettled,
)
from conductor_loop.work.attempt import Attempter
from conductor_loop.work.command import CommandProcessor
from conductor_loop.work.handler import HandlerProcessor, Retry
from conductor_loop.work.process import Abort
from conductor_loop.work.processor import File, Processor
from conductor_loop.work.retry import RetryPolicy
from conductor_loop.work.validate import Validator

GOOD = json.dumps({"intent_type": "scaling", "target": "odu", "namespace": "ran", "replicas": 3}).encode()
SECOND = clock.SECOND
ID = f"s-{uuid.uuid4()}"  # other runs of this test may be under way


class Heard:
    """
    Remembers what an attempt said on its way.
    """

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    def running(self, job: Job, late_after: float | None) -> None:
        self.said.append(("running", job.id, late_after))

    def spawned(self, pid: int, start_time: int | None) -> None:
        self.said.append(("spawned", pid > 0, start_time is not None))


class Bench:
    """
    One slot, and attempts on what lies in it.
    """

    def __init__(self, folder: Path, dir_fd: int) -> None:
        self.folder = folder
        self.dir_fd = dir_fd
        self.heard = Heard()
        self.ran: list[File] = []

    def put(self, content: bytes = GOOD, name: str = "intent-a.json", *, age: float = 60.0) -> Job:
        path = self.folder / "0" / name
        path.write_bytes(content)
        moment = time.time() - age
        os.utime(path, (moment, moment))
        return self.job(name)

    def job(self, name: str = "intent-a.json", **changes: Any) -> Job:
        now = clock.now_us()
        facts: dict[str, Any] = {
            "number": 1,
            "id": ID,
            "name": name,
            "slot": 0,
            "dir_fd": self.dir_fd,
            "relative": f"0/{name}",
            "attempt": 1,
            "discovered_at": now,
            "claimed_at": now,
            "unchanged_since": now - 60 * SECOND,
        }
        return Job(**(facts | changes))

    def attempter(
        self, handler: Callable[[File], Any] | Processor | None = None, **changes: Any
    ) -> Attempter:
        options: dict[str, Any] = {
            "validator": Validator(schema="intent", max_bytes=10_000, max_depth=20),
            "retry": RetryPolicy(max_attempts=3, give_up_after=3600.0, initial_delay=1.0, max_delay=60.0),
            "reject_after": 5.0,
            "out_dir": str(self.folder),
            "min_free_bytes": 0,
        }
        if handler is None or not hasattr(handler, "run"):
            handler = HandlerProcessor(handler or self.ran.append, timeout=9.0, output_limit=1000)
        return Attempter(processor=handler, **(options | changes))

    def attempt(
        self, job: Job, handler: Callable[[File], Any] | Processor | None = None, **changes: Any
    ) -> Report:
        return self.attempter(handler, **changes).run_once(job, self.heard)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "0").mkdir()
    dir_fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    before = os.listdir("/proc/self/fd")
    yield Bench(tmp_path, dir_fd)
    assert len(before) == len(os.listdir("/proc/self/fd"))
    os.close(dir_fd)


def failing(file: File) -> None:
    raise ValueError("no good")


def asking(file: File) -> None:
    raise Retry("later", delay=2.0)


def test_a_good_file_is_run_and_reported(bench: Bench) -> None:
    """
    The processor sees where it lies and what is in it; the report says what was read.
    """
    job = bench.put()
    report = bench.attempt(job)
    (file,) = bench.ran

    assert report.verdict == Succeeded()
    assert report.job is job
    assert (report.size, report.sha256) == (len(GOOD), hashlib.sha256(GOOD).hexdigest())
    assert report.run is not None
    assert report.run.started_at <= report.finished_at <= clock.now_us()
    assert (file.path, file.data, file.sha256) == (
        bench.folder / "0/intent-a.json",
        json.loads(GOOD),
        report.sha256,
    )
    assert 8 < file.deadline.remaining() <= 9
    assert bench.heard.said == [("running", ID, 9.0)]


def test_the_path_follows_a_directory_that_was_renamed(bench: Bench) -> None:
    """
    What counts is the directory that was opened, not the name it had.
    """
    job = bench.put()
    moved = bench.folder.with_name("moved")
    bench.folder.rename(moved)
    bench.attempt(job, out_dir=str(moved))

    assert bench.ran[0].path == moved / "0/intent-a.json"


def test_without_a_schema_the_processor_gets_the_bytes(bench: Bench) -> None:
    """
    Any content.
    """
    report = bench.attempt(
        bench.put(b"\xff\0"), validator=Validator(schema="none", max_bytes=10, max_depth=1)
    )

    assert report.verdict == Succeeded()
    assert bench.ran[0].data == b"\xff\0"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", Kind.EMPTY),
        (b"{", Kind.INVALID_JSON),
        (b"\xff", Kind.NOT_UTF8),
        (GOOD[:-1] + b', "replicas": 4}', Kind.DUPLICATE_KEY),
        (b"[" * 30 + b"]" * 30, Kind.TOO_DEEP),
        (b"{}", Kind.MISSING_FIELD),
        (GOOD[:-1] + b', "x": 4}', Kind.UNKNOWN_FIELD),
        (GOOD.replace(b"3", b"101"), Kind.INVALID_VALUE),
    ],
)
def test_what_is_not_acceptable_never_runs(bench: Bench, content: bytes, kind: Kind) -> None:
    """
    Rejected with its kind, its size and its checksum, and no mark was written.
    """
    report = bench.attempt(bench.put(content))

    assert isinstance(report.verdict, Rejected)
    assert report.verdict.kind is kind
    assert report.verdict.message
    assert report.size == len(content)
    assert report.sha256 == hashlib.sha256(content).hexdigest()
    assert report.run is None
    assert bench.ran == []
    assert bench.heard.said == []


def test_a_huge_file_is_rejected_without_being_read(bench: Bench) -> None:
    """
    A terabyte of nothing takes no time.
    """
    job = bench.put()
    os.truncate(bench.folder / "0/intent-a.json", 2**40)
    report = bench.attempt(job)

    assert isinstance(report.verdict, Rejected)
    assert report.verdict.kind is Kind.TOO_LARGE
    assert (report.size, report.sha256) == (0, "")


def test_a_file_that_grows_while_it_is_read_is_read_to_the_limit_only(bench: Bench) -> None:
    """
    Its size is taken before; what counts is what comes.
    """
    job = bench.job("endless")
    (bench.folder / "0/endless").write_bytes(b" " * 20_000)
    validator = Validator(schema="intent", max_bytes=10_000, max_depth=20)

    class Claims(Validator):
        def __init__(self) -> None:
            self.__dict__.update(validator.__dict__)
            self.reads = 0

        @property
        def max_bytes(self) -> int:  # type: ignore[override]
            self.reads += 1  # the first time it is asked whether the file is too large: not yet
            return 10**9 if self.reads == 1 else 10_000

        @max_bytes.setter
        def max_bytes(self, value: int) -> None: ...

    report = bench.attempt(job, validator=Claims())

    assert isinstance(report.verdict, Rejected)
    assert report.verdict.kind is Kind.TOO_LARGE
    assert report.size == 10_001


def _nothing(path: Path) -> None:
    path.unlink()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _socket(path: Path) -> None:
    import socket

    path.unlink()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("swap", "message"),
    [
        (_nothing, "the file is gone"),
        (_fifo, "not a regular file"),
        (_directory, "not a regular file"),
        (_link, "Too many levels of symbolic links"),
        (_device, "Too many levels of symbolic links"),
        (_socket, "No such device or address"),
    ],
)
def test_what_was_swapped_into_the_slot_is_unreadable(
    bench: Bench, swap: Callable[[Path], None], message: str
) -> None:
    """
    A FIFO blocks nobody, a link leads nowhere.
    """
    job = bench.put()
    swap(bench.folder / "0/intent-a.json")
    began = time.monotonic()
    report = bench.attempt(job)

    assert report.verdict == Rejected(Kind.UNREADABLE, message)
    assert time.monotonic() - began < 2
    assert bench.ran == []


def test_a_name_that_is_not_utf8_is_rejected(bench: Bench) -> None:
    """
    Shown escaped.
    """
    job = bench.put(name=os.fsdecode(b"intent-\xff.json"))

    assert bench.attempt(job).verdict == Rejected(Kind.BAD_NAME, r"intent-\xff.json: not valid UTF-8")


@pytest.mark.parametrize(
    "name", ["intent-a\nb.json", "intent-\x1b[31m.json", "intent-ü\u202e.json", "x" * 255]
)
def test_a_strange_name_that_is_utf8_runs(bench: Bench, name: str) -> None:
    """
    Line ends and control characters are allowed in names.
    """
    assert bench.attempt(bench.put(name=name)).verdict == Succeeded()
    assert bench.ran[0].path.name == name


@pytest.mark.parametrize("content", [b"", b'{"intent_type": "scal', '{"ü'.encode()[:-1]])
def test_what_may_still_be_written_is_not_final_at_once(bench: Bench, content: bytes) -> None:
    """
    It is looked at again when it has been unchanged for as long as configured.
    """
    report = bench.attempt(bench.put(content, age=2.0))

    assert isinstance(report.verdict, Unsettled)
    assert 2.5 < report.verdict.delay <= 3.1


def test_other_faults_are_final_at_once(bench: Bench) -> None:
    """
    A complete document does not become another one by waiting.
    """
    assert isinstance(bench.attempt(bench.put(b"{}", age=0.0)).verdict, Rejected)


def test_the_last_change_seen_before_the_claim_counts_too(bench: Bench) -> None:
    """
    A file can be written with an old time.
    """
    bench.put(b"", age=3600.0)
    job = bench.job(unchanged_since=clock.now_us() - SECOND)

    assert isinstance(verdict := bench.attempt(job).verdict, Unsettled)
    assert 3.0 < verdict.delay <= 4.1


def test_a_time_to_come_does_not_keep_a_file_unsettled(bench: Bench) -> None:
    """
    Somebody set it, or the clock was set back.
    """
    bench.put(b"", age=-3600.0)
    later = clock.now_us() + 3600 * SECOND

    assert isinstance(bench.attempt(bench.job(unchanged_since=later)).verdict, Rejected)


def test_a_failure_that_may_pass_is_tried_again(bench: Bench) -> None:
    """
    With the delay of the policy or the handler.
    """
    report = bench.attempt(bench.put(), asking)

    assert report.verdict == Again(Kind.HANDLER_ERROR, "later", 2.0)
    assert report.run is not None


def test_other_failures_are_final(bench: Bench) -> None:
    """
    With the traceback as output.
    """
    report = bench.attempt(bench.put(), failing)

    assert report.verdict == Failed(Kind.HANDLER_ERROR, "ValueError: no good")
    assert report.run is not None
    assert b"Traceback" in report.run.output


def test_the_last_attempt_is_final(bench: Bench) -> None:
    """
    So is one that comes after all the time there is; if it was not the only one, it says so.
    """
    bench.put()

    assert isinstance(bench.attempt(bench.job(attempt=2), asking).verdict, Again)
    given_up = Failed(Kind.HANDLER_ERROR, "later; given up after 3 attempts")
    assert bench.attempt(bench.job(attempt=3), asking).verdict == given_up
    long_ago = clock.now_us() - 3601 * SECOND
    assert bench.attempt(bench.job(claimed_at=long_ago), asking).verdict == Failed(
        Kind.HANDLER_ERROR, "later"
    )


def test_what_is_never_repeated_was_not_given_up(bench: Bench) -> None:
    """
    Also where the attempts before it failed otherwise.
    """
    bench.put()

    assert bench.attempt(bench.job(attempt=3), failing).verdict == Failed(
        Kind.HANDLER_ERROR, "ValueError: no good"
    )


def test_each_attempt_reads_and_validates_afresh(bench: Bench) -> None:
    """
    What changed in between counts.
    """
    job = bench.put()
    first = bench.attempt(job, asking)
    bench.put(b"{}")
    second = bench.attempt(job, asking)

    assert isinstance(first.verdict, Again)
    assert isinstance(second.verdict, Rejected)
    assert first.sha256 != second.sha256


def test_a_failure_on_a_full_disk_is_not_the_files(bench: Bench) -> None:
    """
    It pauses; success is success however full the disk is.
    """
    job = bench.put()
    report = bench.attempt(job, failing, min_free_bytes=2**62)

    assert isinstance(report.verdict, Blocked)
    assert report.verdict.reason is PauseReason.DISK
    assert str(bench.folder) in report.verdict.message
    assert "ValueError: no good" in report.verdict.message
    assert bench.attempt(job, min_free_bytes=2**62).verdict == Succeeded()


def test_a_missing_out_dir_is_not_a_full_disk(bench: Bench) -> None:
    """
    The failure stays what it was.
    """
    report = bench.attempt(bench.put(), failing, min_free_bytes=2**62, out_dir=str(bench.folder / "nowhere"))

    assert isinstance(report.verdict, Failed)


def test_what_was_rewritten_while_it_ran_is_said(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """
    Checksum and size are of what was validated and run; that something else lies there now is not kept quiet.
    """
    job = bench.put()

    def rewritten(file: File) -> str:
        file.path.write_bytes(GOOD.replace(b"3", b"4"))
        return "done"

    report = bench.attempt(job, rewritten)

    assert report.sha256 == hashlib.sha256(GOOD).hexdigest()
    assert report.verdict == Succeeded(
        f"done; the file was changed while it ran; content {report.sha256} was validated"
    )
    assert f"intent-a.json ({ID}) was changed while it ran" in caplog.text


def test_a_file_removed_while_it_ran_is_for_filing_to_find(bench: Bench) -> None:
    """
    The run succeeded all the same.
    """
    assert bench.attempt(bench.put(), lambda file: file.path.unlink()).verdict == Succeeded()


def test_no_descriptors_left_is_not_the_files_fault(bench: Bench) -> None:
    """
    A good file is not rejected because the agent has too much open.
    """
    import resource

    job, attempter = bench.put(), bench.attempter()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        report = attempter.run_once(job, bench.heard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert isinstance(report.verdict, Blocked)


def test_a_command_is_marked_spawned_and_judged_like_a_handler(bench: Bench) -> None:
    """
    The same way for both; a command cannot be late, for its timeout is enforced.
    """
    job = bench.put()
    abort = Abort()
    command = CommandProcessor(
        ["sh", "-c", 'cat "$1"; [ "$2" = 1 ] || exec sleep 60; exit 75', "sh", "{path}", "{attempt}"],
        out_dir="/",
        timeout=30.0,
        kill_grace=1.0,
        output_limit=1000,
        environ={"PATH": os.environ["PATH"]},
        abort=abort,
    )
    retry = RetryPolicy(
        max_attempts=3,
        give_up_after=60.0,
        initial_delay=1.0,
        max_delay=60.0,
        retry_exit_codes=frozenset({75}),
    )
    report = bench.attempt(job, command, retry=retry)
    once = bench.attempt(job, command)
    abort.set()
    stopped = bench.attempt(bench.job(attempt=2), command)
    abort.close()

    assert isinstance(report.verdict, Again)
    assert report.verdict.kind is Kind.COMMAND_FAILED
    assert report.run is not None
    assert report.run.output == GOOD
    assert isinstance(once.verdict, Failed)
    assert stopped.verdict == Interrupted()
    assert bench.heard.said[:2] == [("running", ID, None), ("spawned", True, True)]
