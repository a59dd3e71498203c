"""
The running marks, as an agent that died leaves them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from conductor_loop import clock
from conductor_loop.ledger.marks import Mark, Marks, read_boot_id, read_marks
from conductor_loop.model import Job


def job(number: int, *, attempt: int = 1, interruptions: int = 0) -> Job:
    return Job(
        number=number,
        id=f"0123456789-{number}",
        name="intent-1.json",
        slot=0,
        dir_fd=-1,
        relative="agent/0/intent-1.json",
        attempt=attempt,
        discovered_at=1,
        claimed_at=2,
        unchanged_since=0,
        interruptions=interruptions,
    )


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> int:
    """
    The moment at which everything here happens.
    """
    moment = 1_795_419_798_123_456
    monkeypatch.setattr(clock, "now_us", lambda: moment)
    return moment


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "running"


@pytest.fixture
def marks(path: Path) -> Iterator[Marks]:
    with closing(Marks(path, count=3, boot="boot")) as opened:
        opened.clear_all()
        yield opened


def left_behind(path: Path) -> list[Mark]:
    """
    Return what the next agent finds.
    """
    with closing(Marks(path, count=3, boot="other")) as following:
        return following.left_behind()


def test_first_start_finds_nothing(path: Path) -> None:
    """
    A new file has no marks.
    """
    assert left_behind(path) == []


def test_mark_tells_the_attempt_and_then_its_process(path: Path, marks: Marks, now: int) -> None:
    """
    Before the spawn there is no process to name; the file was about to run all the same. The start stays as it is.
    """
    marks.running(1, job(7, attempt=2, interruptions=1))
    before = left_behind(path)
    marks.spawned(1, 4711, 123456)

    assert before == [Mark("0123456789-7", 2, 1, "boot", now)]
    assert left_behind(path) == [Mark("0123456789-7", 2, 1, "boot", now, 4711, 123456)]


def test_next_job_of_a_worker_does_not_keep_the_process_of_the_last(
    path: Path, marks: Marks, now: int
) -> None:
    """
    Its number may belong to somebody else by then.
    """
    marks.running(0, job(1))
    marks.spawned(0, 4711, 1)
    marks.clear(0)
    marks.running(0, job(2))

    assert left_behind(path) == [Mark("0123456789-2", 1, 0, "boot", now)]


def test_clear_takes_back_one_worker_only(path: Path, marks: Marks) -> None:
    """
    Workers do not touch each other's marks.
    """
    for worker in range(3):
        marks.running(worker, job(worker))
    marks.clear(1)

    assert [mark.id for mark in left_behind(path)] == ["0123456789-0", "0123456789-2"]


def test_file_never_grows(path: Path, marks: Marks) -> None:
    """
    A mark is one write into a place that is there: it succeeds on a full disk.
    """
    size = path.stat().st_size
    for worker in range(3):
        marks.running(worker, job(2**63 - 1, attempt=10**9, interruptions=3))
        marks.spawned(worker, 2**22, 2**63 - 1)

    assert path.stat().st_size == size == 3 * 256
    assert len(left_behind(path)) == 3


def test_marks_outlive_a_killed_process(path: Path) -> None:
    """
    Without a flush: the kernel has them.
    """
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "sys.path[:0] = sys.argv[2:]\n"
        "from conductor_loop.ledger.marks import Marks\n"
        "from test_ledger_marks import job\n"
        "Marks(Path(sys.argv[1]), count=1, boot='boot').running(0, job(5))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    here = Path(__file__).parent
    subprocess.run([sys.executable, "-c", script, path, here, here.parent.parent / "agent"], check=False)

    (mark,) = left_behind(path)
    assert mark == Mark("0123456789-5", 1, 0, "boot", mark.started_at)
    assert mark.started_at is not None


def test_mark_of_an_older_program_says_nothing_of_the_start(path: Path) -> None:
    """
    Everything else is known, and the interruption counts.
    """
    path.write_bytes(
        b'{"id": "old-1", "attempt": 1, "interruptions": 0, "boot": "b", "pid": 7, "start_time": 9}'
    )

    assert left_behind(path) == [Mark("old-1", 1, 0, "b", None, 7, 9)]


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": "x", "attempt": 1',  # torn
        b"\0" * 255,
        b"\xff\xfe",
        b"[]",
        b"7",
        b"null",
        b'{"id": "x"}',
        b'{"id": "x", "attempt": 1, "interruptions": 0, "boot": "b", "of_a_newer_program": 1}',
        b"",
    ],
)
def test_unreadable_marks_are_left_out(path: Path, line: bytes) -> None:
    """
    Recovery works without them; the good ones beside them count.
    """
    good = json.dumps({"id": "good-1", "attempt": 1, "interruptions": 0, "boot": "b"}).encode()
    path.write_bytes(line.ljust(255) + b"\n" + good.ljust(255) + b"\n")

    assert [mark.id for mark in left_behind(path)] == ["good-1"]


def test_clear_all_forgets_marks_of_more_workers_than_there_are_now(path: Path) -> None:
    """
    `max_workers` was lowered between two starts.
    """
    with closing(Marks(path, count=8, boot="boot")) as earlier:
        for worker in range(8):
            earlier.running(worker, job(worker))
    with closing(Marks(path, count=2, boot="boot")) as later:
        assert len(later.left_behind()) == 8
        later.clear_all()
        later.running(0, job(9))

    assert [mark.id for mark in left_behind(path)] == ["0123456789-9"]
    assert path.stat().st_size == 2 * 256


def test_boot_id_is_the_kernels() -> None:
    """
    The same for the whole life of the machine.
    """
    assert len(read_boot_id()) == 36
    assert read_boot_id() == read_boot_id()


def test_grown_file_holds_the_marks_of_further_workers(path: Path, marks: Marks) -> None:
    """
    Those that stand are left alone, and the new places are there before anybody needs them.
    """
    marks.running(2, job(2))
    marks.grow(5)
    size = path.stat().st_size
    marks.running(4, job(4))

    assert path.stat().st_size == size == 5 * 256
    assert [mark.id for mark in left_behind(path)] == ["0123456789-2", "0123456789-4"]


def test_file_does_not_shrink_while_workers_beyond_have_work_in_hand(path: Path, marks: Marks) -> None:
    """
    An agent that is killed right after fewer workers were asked for leaves all marks behind.
    """
    marks.running(2, job(2))
    marks.grow(1)

    assert [mark.id for mark in left_behind(path)] == ["0123456789-2"]
    marks.clear_all()
    assert left_behind(path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_marks_that_find_no_room_change_nothing(marks: Marks) -> None:
    """
    The disk is full: there are as many places as before, and they work.
    """
    kept = os.dup(marks._fd)
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, marks._fd)
    os.close(full)
    with pytest.raises(OSError, match="No space left"):
        marks.grow(4)
    os.dup2(kept, marks._fd)
    os.close(kept)

    marks.running(2, job(2))
    with pytest.raises(IndexError):
        marks.running(3, job(3))


def test_marks_are_read_without_making_the_file(tmp_path: Path) -> None:
    """
    Beside the agent that writes them, and where there never was one.
    """
    path = tmp_path / "running"
    assert read_marks(path) == []
    assert not path.exists()

    with closing(Marks(path, count=2, boot="b")) as marks:
        marks.clear_all()
        marks.running(1, job(7))
        marks.spawned(1, 4711, 99)

        assert read_marks(path) == marks.left_behind()
        assert [(mark.id, mark.pid) for mark in read_marks(path)] == [("0123456789-7", 4711)]
