"""
Running marks: which file each worker has in hand, so that the next start knows what died with the agent.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from conductor_loop import clock
from conductor_loop.model import Job

_SIZE = 256  #: bytes of one worker's record, so that a mark is one pwrite that never grows the file
_EMPTY = b" " * (_SIZE - 1) + b"\n"


@dataclass(frozen=True, slots=True)
class Mark:
    """
    What one worker was doing.
    """

    id: str
    attempt: int
    interruptions: int  #: of the file before this run
    boot: str
    started_at: int | None = None  #: moment of this run; of the mark of an older program not known
    pid: int | None = None
    start_time: int | None = None  #: of `pid`, in clock ticks since boot; tells it from a later process


class Marks:
    """
    The fixed file of marks in the state directory; no fsync, for it only has to outlive the process.

    Args:
        path: of the file.
        count: of workers.
        boot: id of this boot of the machine.
    """

    def __init__(self, path: Path, *, count: int, boot: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._boot = boot
        self._records = [""] * count

    def left_behind(self) -> list[Mark]:
        """
        Return the marks that an earlier agent did not clear; unreadable ones are left out.
        """
        return _marks_in(os.pread(self._fd, os.fstat(self._fd).st_size, 0))

    def clear_all(self) -> None:
        """
        Forget every mark.
        """
        # In this order: on a full disk what is there can be written over, but nothing can be added.
        os.pwrite(self._fd, _EMPTY * len(self._records), 0)
        os.ftruncate(self._fd, _SIZE * len(self._records))

    def grow(self, count: int) -> None:
        """
        Have room for so many workers; the file never shrinks, for those beyond the new count still have work in hand.

        Raises:
            OSError: if the disk is full; nothing was changed.
        """
        more = count - len(self._records)
        if more > 0:
            # Written out now, so that a mark never meets a full disk.
            os.pwrite(self._fd, _EMPTY * more, _SIZE * len(self._records))
            self._records.extend([""] * more)

    def running(self, worker: int, job: Job) -> None:
        """
        Say that `worker` (from 0) is about to run `job`.
        """
        # Written by hand, twice per file; an id and a boot id need no escaping.
        self._records[worker] = (
            f'{{"id": "{job.id}", "attempt": {job.attempt}, "interruptions": {job.interruptions}, '
            f'"boot": "{self._boot}", "started_at": {clock.now_us()}'
        )
        self._write(worker, "}")

    def spawned(self, worker: int, pid: int, start_time: int | None) -> None:
        """
        Add the process that runs it.
        """
        started = "null" if start_time is None else start_time
        self._write(worker, f', "pid": {pid}, "start_time": {started}}}')

    def clear(self, worker: int) -> None:
        """
        Say that `worker` has nothing in hand.
        """
        os.pwrite(self._fd, _EMPTY, worker * _SIZE)

    def close(self) -> None:
        os.close(self._fd)

    def _write(self, worker: int, end: str) -> None:
        line = (self._records[worker] + end).encode().ljust(_SIZE - 1) + b"\n"
        os.pwrite(self._fd, line, worker * _SIZE)


def read_marks(path: Path) -> list[Mark]:
    """
    Return the marks in a file of marks as they are at this moment; none where there is no such file.

    Raises:
        OSError: if it cannot be read.
    """
    try:
        return _marks_in(path.read_bytes())
    except FileNotFoundError:
        return []


def read_boot_id() -> str:
    """
    Return the id of this boot of the machine; empty where the kernel does not tell.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _marks_in(whole: bytes) -> list[Mark]:
    return [mark for line in whole.splitlines() if (mark := _parse(line))]


def _parse(line: bytes) -> Mark | None:
    try:
        return Mark(**json.loads(line))
    except (ValueError, TypeError):
        return None  # an empty record, or one torn by the death of its writer: recovery works without it
