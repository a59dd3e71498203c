"""
One attempt on one file: read, validate, process, judge.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import random
import stat
from pathlib import Path
from typing import NamedTuple, Protocol

from conductor_loop import clock
from conductor_loop.ledger import lease
from conductor_loop.model import (
    Again,
    Author,
    Blocked,
    Failed,
    Identity,
    Interrupted,
    Job,
    Kind,
    PauseReason,
    Rejected,
    Report,
    Run,
    Succeeded,
    Unsettled,
    Verdict,
    display_name,
    is_utf8,
)
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.work.processor import Failure, File, Processor, Result
from conductor_loop.work.retry import RetryPolicy
from conductor_loop.work.validate import Checked, Problem, Validator

log = logging.getLogger(__name__)

_OPEN_FLAGS = (
    os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
)  # a FIFO would block, a link lead away
_READ_BYTES = 1024 * 1024
_WRITER_SECONDS = 0.2  #: until a file that somebody still has open for writing is looked at again
_NO_FAULT_OF_THE_FILE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
#: what a file that is still being written may look like
MAY_BE_UNFINISHED = (Kind.EMPTY, Kind.INVALID_JSON)


class Progress(Protocol):
    """
    Hears how far an attempt is.
    """

    def running(self, job: Job, late_after: float | None) -> None:
        """
        Say that the processor is about to run, and after how many seconds it is late; None if it cannot be.
        """

    def spawned(self, pid: int, start_time: int | None) -> None:
        """
        Say that the processor is this process.
        """


class Attempter:
    """
    Makes attempts; one for all workers.

    Args:
        reject_after: seconds that an empty or unparsable file must be unchanged before that is final.
        out_dir: where results go; an attempt that fails while less than `min_free_bytes` are free there is the
            disk's fault.
        author: what status files say of these attempts; None leaves it to whoever writes them.
    """

    def __init__(
        self,
        *,
        validator: Validator,
        processor: Processor,
        retry: RetryPolicy,
        reject_after: float,
        out_dir: str,
        min_free_bytes: int,
        author: Author | None = None,
    ) -> None:
        self._validator = validator
        self._processor = processor
        self._retry = retry
        self._reject_after = reject_after
        self._out_dir = out_dir
        self._min_free_bytes = min_free_bytes
        self._author = author
        self._rng = random.Random()  # noqa: S311 - spreads retries; nothing is secret

    def run_once(self, job: Job, progress: Progress) -> Report:
        """
        Make one attempt; everything is read and validated afresh.
        """
        return self._attempt(job, progress)._replace(author=self._author)

    def _attempt(self, job: Job, progress: Progress) -> Report:
        try:
            content = self._read(job)
        except _RefusedError as refused:
            return _report(job, refused.verdict)
        checked = self._validator.check(content.data)
        if checked.problem:
            return _report(job, self._rejection(job, content, checked.problem), content)
        result = self._process(job, content, checked, progress)
        return _report(job, self._verdict(job, content, result), content, result.run)

    def _read(self, job: Job) -> _Content:
        if not is_utf8(job.name):
            raise _RefusedError(Rejected(Kind.BAD_NAME, f"{display_name(job.name)}: not valid UTF-8"))
        try:
            return self._read_slot(job)
        except FileNotFoundError as error:
            raise _RefusedError(Rejected(Kind.UNREADABLE, "the file is gone")) from error
        except OSError as error:
            if error.errno in _NO_FAULT_OF_THE_FILE:
                raise _RefusedError(
                    Blocked(PauseReason.COMMAND, f"no file can be opened: {error}")
                ) from error
            raise _RefusedError(Rejected(Kind.UNREADABLE, os.strerror(error.errno or 0))) from error

    def _read_slot(self, job: Job) -> _Content:
        fd = os.open(job.relative, _OPEN_FLAGS, dir_fd=job.dir_fd)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise _RefusedError(Rejected(Kind.UNREADABLE, "not a regular file"))
            if found.st_size > self._validator.max_bytes:
                problem = self._validator.too_large(found.st_size)
                raise _RefusedError(Rejected(problem.kind, problem.message))
            if lease.writer_has(fd):
                raise _RefusedError(Unsettled(_WRITER_SECONDS))
            data = _read_up_to(fd, self._validator.max_bytes + 1, expected=found.st_size)
        finally:
            os.close(fd)
        return _Content(data, hashlib.sha256(data).hexdigest(), Identity.from_stat(found))

    def _rejection(self, job: Job, content: _Content, problem: Problem) -> Rejected | Unsettled:
        if problem.kind in MAY_BE_UNFINISHED:
            delay = self._reject_after - _unchanged_seconds(job, content)
            if delay > 0:
                return Unsettled(delay, give_back=True)
        return Rejected(problem.kind, problem.message)

    def _process(self, job: Job, content: _Content, checked: Checked, progress: Progress) -> Result:
        timeout = self._processor.timeout
        file = File(
            path=Path(os.readlink(f"/proc/self/fd/{job.dir_fd}") + "/" + job.relative),
            name=job.name,
            id=job.id,
            attempt=job.attempt,
            sha256=content.sha256,
            data=checked.document,
            deadline=Deadline.after(timeout),
        )
        progress.running(job, timeout if self._processor.cooperative else None)
        return self._processor.run(file, progress.spawned)

    def _verdict(self, job: Job, content: _Content, result: Result) -> Verdict:
        match result.ending:
            case Failure() as failure:
                return self._failed(job, failure, result.run)
            case Succeeded(message):
                return Succeeded(_with_change(job, content, message))
            case Blocked() | Interrupted() as other:
                return other

    def _failed(self, job: Job, failure: Failure, run: Run | None) -> Verdict:
        if self._disk_is_full():
            free = f"less than {self._min_free_bytes} bytes are free in {self._out_dir}"
            return Blocked(PauseReason.DISK, f"{free}, and an attempt failed: {failure.message}")
        exit_code = run.exit_code if run else None
        delay = self._retry.decide(
            failure.kind,
            exit_code=exit_code,
            attempt=job.attempt,
            waited_seconds=(clock.now_us() - job.claimed_at) / clock.SECOND,
            rng=self._rng,
            asked=failure.asked,
            asked_delay=failure.asked_delay,
        )
        if delay is not None:
            return Again(failure.kind, failure.message, delay)
        # Who reads only the end must see that it was not the first try.
        again = self._retry.repeats(failure.kind, exit_code=exit_code, asked=failure.asked)
        given_up = f"; given up after {job.attempt} attempts" if again and job.attempt > 1 else ""
        return Failed(failure.kind, f"{failure.message}{given_up}")

    def _disk_is_full(self) -> bool:
        try:
            found = os.statvfs(self._out_dir)
        except OSError:
            return False  # that it is not there is not for want of space
        return found.f_bavail * found.f_frsize < self._min_free_bytes


class _Content(NamedTuple):
    """
    What was in the file when it was read.
    """

    data: bytes
    sha256: str
    identity: Identity


class _RefusedError(Exception):
    """
    The file cannot be read, and this is what follows from it.
    """

    def __init__(self, verdict: Rejected | Blocked | Unsettled) -> None:
        super().__init__(verdict)
        self.verdict = verdict


def _report(job: Job, verdict: Verdict, content: _Content | None = None, run: Run | None = None) -> Report:
    return Report(
        job=job,
        verdict=verdict,
        finished_at=clock.now_us(),
        sha256=content.sha256 if content else "",
        size=len(content.data) if content else 0,
        identity=content.identity if content else None,
        run=run,
    )


def _read_up_to(fd: int, most: int, *, expected: int) -> bytes:
    """
    Return the rest of a file, but not more than `most` bytes: it may be growing.

    Args:
        expected: its size; where that much comes at once, the end is not asked for.
    """
    first = os.read(fd, min(most, expected + 1))
    if len(first) == expected:
        return first  # what is added from now on changes the file, which is looked at again after the run
    chunks = [first]
    most -= len(first)
    while most > 0 and chunks[-1]:
        chunks.append(os.read(fd, min(most, _READ_BYTES)))
        most -= len(chunks[-1])
    return b"".join(chunks)


def _unchanged_seconds(job: Job, content: _Content) -> float:
    now = clock.now_us()
    # A moment to come says nothing: somebody set the file's time, or the clock was set back since.
    changes = (job.unchanged_since, content.identity.mtime_ns // 1000)
    last = max((moment for moment in changes if moment <= now), default=0)
    return (now - last) / clock.SECOND


def _with_change(job: Job, content: _Content, message: str) -> str:
    """
    Add to `message` if the file is not any more what was validated: a writer had it open all the time.
    """
    try:
        found = os.stat(job.relative, dir_fd=job.dir_fd, follow_symlinks=False)
    except OSError:
        return message  # filing finds out and says so
    if Identity.from_stat(found).same_file(content.identity):
        return message
    log.warning("%s (%s) was changed while it ran", display_name(job.name), job.id, extra={"file_id": job.id})
    note = f"the file was changed while it ran; content {content.sha256} was validated"
    return f"{message}; {note}" if message else note
