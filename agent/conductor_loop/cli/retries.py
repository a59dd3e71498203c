"""
Retrying files one after the other, so that it is known at every moment what was done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import click

from conductor_loop.cli.admin import Admin
from conductor_loop.cli.selection import FILES
from conductor_loop.cli.terminal import counted, plain, print_json
from conductor_loop.errors import (
    BusyError,
    CommandAtWorkError,
    ConductorError,
    ConflictError,
    NotFoundError,
    PausedError,
    TimedOutError,
)

BUSY_SECONDS = 1.0
LOOK_SECONDS = 0.25


class Retries:
    """
    What was asked for, and what came of it so far.

    Args:
        quiet: say nothing before `show`.
    """

    def __init__(self, admin: Admin, wanted: Sequence[str], *, dry_run: bool, quiet: bool) -> None:
        self._admin = admin
        self._wanted = wanted
        self._dry_run = dry_run
        self._quiet = quiet
        self._retried: list[dict[str, Any]] = []
        self._refused: list[dict[str, Any]] = []
        self._asking: str | None = None  #: the file that was asked for, and no answer came yet
        self._never = threading.Event()

    @property
    def all_well(self) -> bool:
        """
        Tell whether none was refused and none has ended other than as processed.
        """
        from conductor_loop.model import Outcome  # noqa: PLC0415 - dear, and `--help` does not need it

        ended = (file["outcome"] for file in self._retried)
        return not self._refused and all(outcome in (None, Outcome.PROCESSED) for outcome in ended)

    def run(self, interval: float) -> None:
        """
        Retry the files in their order.

        Args:
            interval: seconds from one to the next at least.
        """
        for place, wanted in enumerate(self._wanted):
            if place:
                self._admin.rest(interval)
            self._asking = wanted
            try:
                self._retried.append(self._retry(wanted) | {"outcome": None})
            except (ConflictError, NotFoundError) as error:
                self._refuse(wanted, error)
                if isinstance(
                    error, PausedError
                ):  # no matter of the file: the others would be refused as well
                    return
            else:
                self._asking = None
                self._say(self._line(self._retried[-1]))

    def wait(self, seconds: float) -> None:
        """
        Wait until all that were retried have ended.

        Raises:
            TimedOutError: if they have not in this time.
        """
        deadline = time.monotonic() + seconds
        for file in self._retried:
            while not self._has_ended(file) and time.monotonic() < deadline:
                self._never.wait(LOOK_SECONDS)
        left = sum(file["outcome"] is None for file in self._retried)
        if left:
            raise TimedOutError(f"not ended in {seconds:g}s: {left} of {counted(len(self._retried), 'file')}")

    def show(self) -> None:
        """
        Say what was done, as a document or, where that is not all, in words.
        """
        left = len(self._wanted) - len(self._retried) - len(self._refused)
        if self._quiet:
            done = {"retried": self._retried, "refused": self._refused}
            print_json({"dry_run": self._dry_run, **done, "left": left, "unknown": self._asking})
        elif left:
            words = f"stopped; retried: {len(self._retried)} of {counted(len(self._wanted), 'file')}"
            unknown = (
                f"; of {self._asking} it is not known: `files show {self._asking}`" if self._asking else ""
            )
            click.echo(f"{words}{unknown}", err=True)

    def _has_ended(self, file: dict[str, Any]) -> bool:
        found = self._admin.get(f"{FILES}/{file['id']}")
        file["outcome"] = found["outcome"]
        if found["outcome"] is not None:
            self._say(plain(f"{file['id']} {found['outcome']} {found['message'] or ''}".rstrip()))
        return found["outcome"] is not None

    def _refuse(self, wanted: str, error: ConductorError) -> None:
        self._asking = None
        document = {"error": str(error), "kind": error.kind, "exit_code": error.exit_code}
        self._refused.append({"id": wanted, **document})
        self._say(plain(f"{wanted} refused: {error}"), err=True)

    def _retry(self, id: str) -> dict[str, Any]:
        while True:
            try:
                return self._admin.post(f"{FILES}/{id}/retry", dry_run=self._dry_run)
            except CommandAtWorkError:  # it was waited for
                self._asking = None
                raise
            except BusyError:  # as many as the agent takes at once are in hand
                self._never.wait(BUSY_SECONDS)

    def _line(self, file: dict[str, Any]) -> str:
        if self._dry_run:
            return plain(f"{file['retry_of']} would be retried: {file['name']}")
        return plain(f"{file['retry_of']} -> {file['id']} {file['name']}")

    def _say(self, words: str, *, err: bool = False) -> None:
        if not self._quiet:
            click.echo(words, err=err)
