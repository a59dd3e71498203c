"""
What lies in one of the directories of filed files, and its deletion: of what is ours and nothing else.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from conductor_loop.ledger import naming, status
from conductor_loop.ledger.places import Paths
from conductor_loop.model import Outcome, display_name
from conductor_loop.store.queries import FileRow

log = logging.getLogger(__name__)

SAY_SECONDS = 3_600.0  #: between two lines about the same

Ours = Callable[[os.stat_result], bool]
"""
Tells whether what is found under a name is what was filed there.
"""

_PROCESSED = frozenset({str(Outcome.PROCESSED)})
_UNSUCCESSFUL = frozenset({str(Outcome.FAILED), str(Outcome.REJECTED)})


class Shelf:
    """
    One directory, and the rows that have something in it.

    Ours is the regular file with the inode, size and time of change of the row, and the status file and error log
    that carry its id. Whatever else lies under the name stays. The device is not compared: its number may change
    whenever the machine starts, and then nothing would ever be deleted.

    Args:
        kind: of the files in it, for people.
        directory: opened anew each time, for somebody may replace it.
        outcomes: of the rows that have something in it.
        belongings: gives the names of what belongs to the row with an id, each with what tells whether it is ours.
    """

    def __init__(
        self,
        kind: str,
        directory: Path,
        outcomes: frozenset[str],
        belongings: Callable[[int, FileRow, str], Iterator[tuple[str, Ours]]],
    ) -> None:
        self.kind = kind
        self.outcomes = outcomes
        self.deleted = 0  #: since somebody set it to 0
        self.foreign = 0  #: found under a name of ours and left alone, likewise
        self._directory = directory
        self._belongings = belongings
        self._complain_at = 0.0

    def clear(self, rows: Sequence[FileRow], store_id: str) -> list[FileRow] | None:
        """
        Delete what belongs to these rows; return those for which that was not possible, None if for all.
        """
        if not rows:
            return []
        try:
            fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            self._complain(error)
            return None
        try:
            return [row for row in rows if not self._clear_one(fd, row, f"{store_id}-{row.number}")]
        finally:
            os.close(fd)

    def _clear_one(self, fd: int, row: FileRow, id: str) -> bool:
        if row.filed_at is None:
            return False  # it is still to come
        try:
            for name, ours in self._belongings(fd, row, id):
                self._unlink(fd, name, ours)
        except OSError as error:
            self._complain(error)
            return False
        return True

    def _unlink(self, fd: int, name: str, ours: Ours) -> None:
        with suppress(FileNotFoundError):  # whoever uses it has taken it, or it was deleted before
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) and ours(found):
                os.unlink(name, dir_fd=fd)
                self.deleted += 1
            else:
                self.foreign += 1

    def _complain(self, error: OSError) -> None:
        if time.monotonic() >= self._complain_at:
            log.warning(
                "old files in %s cannot be deleted now, trying again: %s",
                display_name(str(self._directory)),
                display_name(str(error)),
            )
            self._complain_at = time.monotonic() + SAY_SECONDS


def shelves(paths: Paths) -> tuple[Shelf, Shelf, Shelf]:
    """
    Return the directories of processed files, of failed and rejected ones, and of status files.
    """
    return (
        Shelf("processed", paths.processed, _PROCESSED, _file),
        Shelf("failed", paths.failed, _UNSUCCESSFUL, _file_and_log),
        Shelf("status", paths.status, _PROCESSED | _UNSUCCESSFUL, _status_file),
    )


def _file(fd: int, row: FileRow, id: str) -> Iterator[tuple[str, Ours]]:
    known = row.identity
    yield (
        row.target or "",
        lambda found: (
            (found.st_ino, found.st_size, found.st_mtime_ns) == (known.ino, known.size, known.mtime_ns)
        ),
    )


def _file_and_log(fd: int, row: FileRow, id: str) -> Iterator[tuple[str, Ours]]:
    # The log first: it is of no use alone, and without it the file would be one without a reason for a moment only.
    log_name = naming.error_log_name(row.target or "", id)
    yield log_name, lambda found: status.is_error_log_of(fd, log_name, id)
    yield from _file(fd, row, id)


def _status_file(fd: int, row: FileRow, id: str) -> Iterator[tuple[str, Ours]]:
    name = row.status_name or ""
    yield name, lambda found: status.read_id(fd, name) == id
