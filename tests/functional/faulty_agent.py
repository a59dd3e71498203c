"""
The agent, killed at one step: `faulty_agent.py STEP[:N] ARGUMENTS...` is `conductor-loop ARGUMENTS...` that ends by
SIGKILL at the N-th time it comes to STEP.

A step is `before-` or `after-` and one of the functions below; the product knows nothing of this.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from conductor_loop.cli import main
from conductor_loop.ledger import failed, moves, restore, status
from conductor_loop.ledger.admission import Admission
from conductor_loop.ledger.book import Book
from conductor_loop.ledger.marks import Marks
from conductor_loop.store import opening
from conductor_loop.store.changes import Changes
from conductor_loop.store.writer import Writer


def _is_claim(source_fd: int, source: str, target_fd: int, target: str) -> bool:
    return "/" in target


def _is_filing(source_fd: int, source: str, target_fd: int, target: str) -> bool:
    return "/" in source


def _is_naming(source_fd: int, source: str, target_fd: int, target: str) -> bool:
    return source.startswith(status.TEMPORARY) and "probe" not in source


def _is_of_files(writer: Writer, changes: Changes) -> bool:
    return bool(changes.claims or changes.attempts or changes.ends or changes.filed)


@dataclass(frozen=True)
class Step:
    """
    A function of the agent, and which of its calls are meant.
    """

    owner: Any
    function: str
    is_meant: Callable[..., bool] = lambda *args, **named: True


STEPS = {
    "commit": Step(Writer, "commit"),
    "entry": Step(Writer, "commit", _is_of_files),
    "claim": Step(moves, "rename_noreplace", _is_claim),
    "status": Step(status, "write"),
    "status-name": Step(moves, "rename_noreplace", _is_naming),
    "filing": Step(moves, "rename_noreplace", _is_filing),
    "link": Step(os, "link"),  # where renameat2 has no flags
    "running": Step(Marks, "running"),
    "spawned": Step(Marks, "spawned"),
    "clear": Step(Marks, "clear"),
    "clear-all": Step(Marks, "clear_all"),
    "report": Step(Admission, "report"),
    "marked": Step(Book, "marked"),
    "error-log": Step(failed, "remove_error_log"),
    "syncfs": Step(moves, "syncfs"),
    "recovery": Step(restore.Restorer, "__call__"),
    "new-store": Step(opening, "create"),
}


def plant_at(where: str) -> None:
    """
    Make the agent die at `before-STEP[:N]` or `after-STEP[:N]`.
    """
    step, _, turn = where.partition(":")
    moment, _, name = step.partition("-")
    plant(moment, STEPS[name], int(turn or 1))


def plant(moment: str, step: Step, turn: int) -> None:
    """
    Make the agent die before or after the `turn`-th call of a function.
    """
    original = getattr(step.owner, step.function)
    lock = threading.Lock()
    left = turn

    @functools.wraps(original)
    def wrapped(*args: Any, **named: Any) -> Any:
        nonlocal left
        with lock:
            left -= step.is_meant(*args, **named)
            fatal = left == 0 and step.is_meant(*args, **named)
        if fatal and moment == "before":
            _die()
        try:
            return original(*args, **named)
        finally:
            if fatal:
                _die()

    setattr(step.owner, step.function, wrapped)


def without_renameat2() -> None:
    """
    Behave as on a file system that knows no RENAME_NOREPLACE.
    """
    moves._renameat2 = lambda *args: errno.EINVAL


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    where = sys.argv.pop(1)
    if "link" in where:
        without_renameat2()
    plant_at(where)
    sys.exit(main())
