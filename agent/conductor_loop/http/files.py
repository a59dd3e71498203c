"""
Files and their runs as documents, and where a file is now.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conductor_loop import clock
from conductor_loop.http.administration import AtWork
from conductor_loop.ledger import naming, status
from conductor_loop.ledger.places import Paths, in_slot
from conductor_loop.model import Outcome, display_name
from conductor_loop.store.queries import FileRow, PastAttempt, PastInterruption, Related

_WITH_ERROR_LOG = frozenset({Outcome.FAILED, Outcome.REJECTED})


def file_id(store_id: str, number: int) -> str:
    """
    Return a file's id as it is shown.
    """
    return f"{store_id}-{number}"


def file_document(row: FileRow, store_id: str, related: Related, at_work: AtWork) -> dict[str, Any]:
    """
    Return what there is to say of a file in a line of a list.

    Args:
        related: what other rows say of it.
        at_work: what the agent is doing.
    """
    is_open = row.outcome is None
    last = related.attempts.get(row.number) if is_open else None
    return {
        "id": file_id(store_id, row.number),
        "name": display_name(row.name),
        "outcome": row.outcome,
        "kind": row.kind,
        "message": row.message,
        "found_by": row.found_by,
        "discovered_at": clock.rfc3339(row.discovered_at),
        "claimed_at": clock.rfc3339(row.claimed_at),
        "finished_at": _moment(row.finished_at),
        "next_attempt_at": _moment(row.next_attempt_at) if is_open else None,
        "attempts": row.attempts,
        "interruptions": row.interruptions,
        "exit_code": row.exit_code,
        "duration_seconds": _seconds(row.duration_us),
        "wait_seconds": _seconds(row.wait_us),
        "size_bytes": row.identity.size,
        "sha256": row.sha256,
        "filed_as": _shown(row.target),
        "status_file": _shown(row.status_name),
        "retry_of": _id_or_none(store_id, row.retry_of),
        "retried_as": _id_or_none(store_id, related.retries.get(row.number)),
        "state": _state(row, at_work) if is_open else None,
        "running_since": _moment(at_work.running.get(row.number)) if is_open else None,
        "last_failure": None if last is None else {"kind": last[0], "message": last[1]},
    }


def run_document(run: PastAttempt) -> dict[str, Any]:
    """
    Return one run of a file.
    """
    return {
        "attempt": run.attempt,
        "started_at": clock.rfc3339(run.started_at),
        "duration_seconds": _seconds(run.duration_us),
        "exit_code": run.exit_code,
        "signal": run.signal,
        "kind": run.kind,
        "message": run.message,
        "output": run.output.decode("utf-8", "backslashreplace"),
        "output_bytes": run.output_bytes,
        # Where something was left out, a line of the kept output says so; its length is that of a whole one only by chance.
        "output_cut": len(run.output) != run.output_bytes,
        "survivors": run.survivors,
    }


def interruption_document(run: PastInterruption) -> dict[str, Any]:
    """
    Return one run of a file that was cut off.
    """
    return {
        "started_at": clock.rfc3339(run.started_at),
        "found_at": clock.rfc3339(run.found_at),
        "cause": run.cause,
    }


class Whereabouts:
    """
    Looks where the files of one agent are.

    Args:
        paths: of its directories.
        store_id: of its store.
    """

    def __init__(self, paths: Paths, *, store_id: str) -> None:
        self._paths = paths
        self._store_id = store_id

    def document(self, row: FileRow, *, retried_as: int | None) -> dict[str, Any]:
        """
        Return the paths of a file and of what lies beside it; None for what is not there any more.

        Args:
            retried_as: number of the file that tries this one again, and has taken it away.
        """
        path = None if retried_as is not None else next(self._found(row), None)
        return {
            "path": _shown_path(path),
            "status_path": _shown_path(self._status(row)),
            "error_log": _shown_path(self._error_log(row)),
        }

    def _found(self, row: FileRow) -> Iterator[Path]:
        if row.target is not None and self._is_filed(row, row.target):
            yield self._folder(row) / row.target
        if row.filed_at is None:
            # In its slot; or, while its writer may come back to it by name, where it was dropped.
            places = (
                self._paths.work / in_slot(row.agent, row.slot, row.name),
                self._paths.handoff / row.name,
            )
            yield from (place for place in places if _inode(place) == row.identity.ino)

    def _is_filed(self, row: FileRow, target: str) -> bool:
        """
        Tell whether what lies at a file's target is that file.

        An editor puts another inode there, and the name may be another file's by now: where there is an error log, it
        says whose the file is.
        """
        inode = _inode(self._folder(row) / target)
        owner = self._error_log_id(row, target)
        return inode is not None and (inode == row.identity.ino if owner is None else owner == self._id(row))

    def _folder(self, row: FileRow) -> Path:
        return self._paths.processed if row.outcome == Outcome.PROCESSED else self._paths.failed

    def _status(self, row: FileRow) -> Path | None:
        if row.status_name is None:
            return None
        path = self._paths.status / row.status_name
        return path if _inode(path) is not None else None

    def _error_log(self, row: FileRow) -> Path | None:
        if row.target is None or self._error_log_id(row, row.target) != self._id(row):
            return None
        return self._paths.failed / naming.error_log_name(row.target, self._id(row))

    def _error_log_id(self, row: FileRow, target: str) -> str | None:
        if row.outcome not in _WITH_ERROR_LOG:
            return None
        try:
            fd = os.open(self._paths.failed, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return status.error_log_id(fd, naming.error_log_name(target, self._id(row)))
        finally:
            os.close(fd)

    def _id(self, row: FileRow) -> str:
        return file_id(self._store_id, row.number)


def _state(row: FileRow, at_work: AtWork) -> str:
    """
    Return what a file that is open is doing.
    """
    if row.number in at_work.running:
        return "running"
    due = row.next_attempt_at
    return "waiting" if due is not None and (at_work.held or due > clock.now_us()) else "queued"


def _inode(path: Path) -> int | None:
    try:
        return os.lstat(path).st_ino
    except OSError:
        return None


def _moment(moment_us: int | None) -> str | None:
    return None if moment_us is None else clock.rfc3339(moment_us)


def _seconds(micros: int | None) -> float | None:
    return None if micros is None else micros / clock.SECOND


def _id_or_none(store_id: str, number: int | None) -> str | None:
    return None if number is None else file_id(store_id, number)


def _shown(name: str | None) -> str | None:
    return None if name is None else display_name(name)


def _shown_path(path: Path | None) -> str | None:
    return None if path is None else display_name(str(path))
