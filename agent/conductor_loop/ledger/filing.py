"""
From an outcome to a filed file: committed first, then status file, then the move, then the mark that it is so.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial

from conductor_loop import clock
from conductor_loop.ledger import failed, moves, naming, status
from conductor_loop.ledger.book import Book
from conductor_loop.ledger.entry import Ending, Entry
from conductor_loop.ledger.page import Page
from conductor_loop.ledger.places import exists
from conductor_loop.ledger.stuck import Stuck
from conductor_loop.ledger.timers import Timers
from conductor_loop.metrics import counting
from conductor_loop.model import Author, Filed, Finished, Outcome, display_name
from conductor_loop.store.changes import EndRow, TargetRow

log = logging.getLogger(__name__)

_AGAIN = 1.0  #: seconds until a filing that failed (a full disk, mostly) is tried again


class Filing:
    """
    Ends files.

    Args:
        author: what status files say of the agent.
        announce: told of files once they are filed; must return at once.
    """

    def __init__(
        self,
        *,
        book: Book,
        timers: Timers,
        stuck: Stuck,
        author: Author,
        announce: Callable[[Sequence[Filed]], None],
    ) -> None:
        self._book = book
        self._timers = timers
        self._stuck = stuck
        self.author = author  # replaced when another configuration is taken over
        self._announce = announce
        self._filed: list[Filed] = []

    def end(self, entry: Entry, ending: Ending, page: Page, *, wait: float | None = None) -> None:
        """
        Enter a file's outcome; it is filed once that is durable.

        Args:
            wait: seconds from its discovery to its first start; None if it never ran.
        """
        entry.ending = ending
        if ending.outcome is not Outcome.VANISHED:
            ending.target = self._target(entry, ending.outcome)
            ending.status_name = naming.status_name(entry.name, entry.id, ending.finished_at)
            self._book.count(*counting.STATUS_FILES, page)
        page.changes.ends.append(_row(entry, ending, wait))
        self._book.finish(
            Finished(
                number=entry.number,
                outcome=ending.outcome,
                kind=ending.kind,
                finished_at=ending.finished_at,
                duration=ending.duration,
                wait=wait,
            ),
            page,
        )
        page.after.append(partial(self.file, entry))

    def file(self, entry: Entry) -> None:
        """
        Write the status file and move the file to its target; what cannot be done now is tried again.
        """
        assert entry.ending is not None  # noqa: S101 - only ended files are filed
        try:
            if entry.ending.outcome is not Outcome.VANISHED:
                self._write_beside(entry, entry.ending)
                _move(entry, entry.ending)
        except FileExistsError:
            self._timers.after(0, partial(self._rename_target, entry, entry.ending))
        except _GoneError:
            log.warning(
                "%s (%s) is gone from its slot before it was filed", display_name(entry.name), entry.id
            )
            self._done(entry, entry.ending)
        except OSError as error:
            self._put_off(entry, error, self.file)
        else:
            self._done(entry, entry.ending)

    def complete(self, entry: Entry) -> None:
        """
        Write what belongs beside a file that is at its target already; what cannot be done now is tried again.
        """
        assert entry.ending is not None  # noqa: S101 - only ended files are filed
        try:
            self._write_beside(entry, entry.ending)
        except FileExistsError:
            self._done(
                entry, entry.ending
            )  # its error log's name is taken, and the file is not moved again for that
        except OSError as error:
            self._put_off(entry, error, self.complete)
        else:
            self._done(entry, entry.ending)

    def announce(self) -> None:
        """
        Tell of the files filed since the last call; in one message, for each wakes somebody.
        """
        if self._filed:
            self._announce(self._filed)
            self._filed = []

    def _write_status(self, entry: Entry, ending: Ending) -> None:
        """
        Write a file's status file, under the next free name if somebody else has taken it.

        Raises:
            OSError: if it could not be written.
        """
        data = status.document(entry.name, entry.id, ending, ending.author or self.author)
        fd = entry.places.status_fd
        while not _write_once(fd, ending.status_name, data, entry.id):
            ending.status_turn += 1
            ending.status_name = naming.status_name(
                entry.name, entry.id, ending.finished_at, ending.status_turn
            )
            self._timers.after(0, partial(_correct, entry, ending))

    def _target(self, entry: Entry, outcome: Outcome) -> str:
        # A processed file's own name is taken for free: looking costs as much as the move, which says so where it
        # is not. A failed one has its error log beside it, whose name must be free as well.
        return entry.name if outcome is Outcome.PROCESSED else _free_target(entry, outcome)

    def _write_beside(self, entry: Entry, ending: Ending) -> None:
        self._write_status(entry, ending)
        if ending.outcome is Outcome.PROCESSED:
            return
        log_name = naming.error_log_name(ending.target, entry.id)
        text = status.error_log(entry.name, entry.id, ending)
        try:
            status.write(entry.places.failed_fd, log_name, text, entry.id)
        except FileExistsError:
            # Ours from before a crash or a failed try; or somebody has taken the name since the target was chosen.
            if not status.is_error_log_of(entry.places.failed_fd, log_name, entry.id):
                raise
            status.replace(entry.places.failed_fd, log_name, text, entry.id)

    def _rename_target(self, entry: Entry, ending: Ending, page: Page) -> None:
        """
        Somebody has taken the target since it was chosen: choose another, enter it, file again.
        """
        _remove_error_log(entry, ending)
        ending.target = _free_target(entry, ending.outcome)
        _correct(entry, ending, page)
        page.after.append(partial(self.file, entry))

    def _put_off(self, entry: Entry, error: OSError, again: Callable[[Entry], None]) -> None:
        self._stuck.add(entry, "file", error)
        if isinstance(error, FileNotFoundError):
            entry.places.mend()
        self._timers.after(_AGAIN, lambda page: page.after.append(partial(again, entry)))

    def _done(self, entry: Entry, ending: Ending) -> None:
        entry.release()
        self._book.filed(entry)
        self._filed.append(_filed(entry, ending))
        self._stuck.discard(entry)


def target_fd(entry: Entry, outcome: Outcome) -> int:
    """
    Return the directory that a file with this outcome is filed in.
    """
    return entry.places.processed_fd if outcome is Outcome.PROCESSED else entry.places.failed_fd


def _write_once(fd: int, name: str, data: bytes, id: str) -> bool:
    """
    Write a status file; tell whether the name was free or its file ours.
    """
    try:
        status.write(fd, name, data, id)
    except FileExistsError:
        if status.read_id(fd, name) != id:
            return False
        status.replace(fd, name, data, id)
    return True


class _GoneError(Exception):
    pass


def _move(entry: Entry, ending: Ending) -> None:
    work_fd = entry.places.work_fd
    fd = target_fd(entry, ending.outcome)
    try:
        moves.rename_noreplace(work_fd, entry.relative, fd, ending.target)
    except FileNotFoundError:
        if not exists(work_fd, entry.relative):
            raise _GoneError from None
        raise


def _remove_error_log(entry: Entry, ending: Ending) -> None:
    """
    Remove the error log beside a target that will not be used after all.
    """
    if ending.outcome is not Outcome.PROCESSED:
        failed.remove_error_log(entry.places, ending.target, entry.id)


def _free_target(entry: Entry, outcome: Outcome) -> str:
    fd = target_fd(entry, outcome)
    name, turn = entry.name, 1
    while _taken(fd, name, outcome, entry.id):
        name = naming.with_id(entry.name, entry.id if turn == 1 else f"{entry.id}-{turn}")
        turn += 1
    return name


def _taken(fd: int, name: str, outcome: Outcome, id: str) -> bool:
    if outcome is not Outcome.PROCESSED and _found(fd, naming.error_log_name(name, id)):
        return True
    return _found(fd, name)


def _found(fd: int, name: str) -> bool:
    # Where it cannot be told, the next name would do no better: the move itself says so, and is tried again.
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return False
    return True


def _filed(entry: Entry, ending: Ending) -> Filed:
    return Filed(
        id=entry.id,
        name=entry.name,
        outcome=ending.outcome,
        kind=ending.kind,
        message=ending.message,
        finished_at=ending.finished_at,
        duration=ending.duration,
        filed_as=ending.target,
    )


def _correct(entry: Entry, ending: Ending, page: Page) -> None:
    page.changes.targets.append(
        TargetRow(number=entry.number, target=ending.target, status_name=ending.status_name)
    )


def _row(entry: Entry, ending: Ending, wait: float | None) -> EndRow:
    return EndRow(
        number=entry.number,
        outcome=ending.outcome,
        kind=ending.kind,
        message=ending.message,
        finished_at=ending.finished_at,
        attempts=ending.attempts,
        exit_code=ending.exit_code,
        duration_us=None if ending.duration is None else round(ending.duration * clock.SECOND),
        wait_us=None if wait is None else round(wait * clock.SECOND),
        sha256=ending.sha256 or None,
        size=entry.identity.size,
        target=ending.target or None,
        status_name=ending.status_name or None,
    )
