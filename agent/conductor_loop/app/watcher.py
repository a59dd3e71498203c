"""
An agent inside another Python program: `with Watcher("/srv/jobs/in", Config(command=[...])) as watcher: ...`.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from conductor_loop import clock
from conductor_loop.app.agent import Agent
from conductor_loop.app.embedded import Config
from conductor_loop.app.guest import STOPPED, Guest
from conductor_loop.app.parts import command_name
from conductor_loop.errors import ConductorError, ConfigError, ConflictError, TimedOutError
from conductor_loop.metrics.flat import Metrics, flatten
from conductor_loop.metrics.live import Live
from conductor_loop.model import Filed, Kind, Outcome, display_name
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.work.handler import load_handler

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """
    How a file ended.
    """

    id: str
    name: str  #: undecodable bytes as surrogates, as os.fsdecode has them
    outcome: Outcome  #: "processed", "failed", "rejected" or "vanished"
    kind: Kind | None  #: why not processed, such as "timeout"; None where it was
    message: str
    finished_at: datetime  #: in UTC
    duration_seconds: float | None  #: of the last attempt; None where nothing ran
    path: Path | None  #: where it was filed; None where it vanished


class Watcher:
    """
    Watches a directory, runs a function or a command on each file, files it, and counts.

    A context manager; or `start` and `stop`, from any thread and as often as wanted. Nothing of the program around it
    is touched: it installs no signal handlers and ends no process, and what it takes (threads, descriptors, locks on the
    directories) it gives back when it stops.

    Args:
        path: the directory to watch; made if it is not there.
        config: None for all defaults.
        on_file: called with each file once it is filed, one after the other, in a thread of the watcher's own. What it
            raises is logged.

    Raises:
        ConfigError: naming everything that is wrong.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        config: Config | None = None,
        *,
        on_file: Callable[[FileResult], object] | None = None,
    ) -> None:
        given = config or Config()
        loaded = given.merge(os.fsdecode(path))
        for warning in loaded.warnings:
            log.warning("%s", warning)
        self._config = loaded.config
        self._handler = given.handler
        self._on_file = on_file
        self._idle = Live(max_workers=self._config.agent.max_workers, command_name=command_name(self._config))
        self._guest: Guest | None = None
        # One start at a time, and a stop that comes meanwhile is not lost; also if it comes out of a signal handler.
        self._lock = threading.RLock()
        self._inside = threading.local()

    def start(self) -> None:
        """
        Start; returns when files are being taken, which after a crash means: when recovery is done.

        After a stop it may be started again, and goes on where it was.

        Raises:
            ConflictError: it runs already, or a handler of the last run has not returned yet.
            ConfigError: something cannot be used.
            OwnedError: another agent, or another watcher, uses the directory.
            StoreError: the database cannot be used.
            PermissionDeniedError: we may not write there.
        """
        with self._lock:
            if self._guest is not None and not self._guest.over:
                raise ConflictError(f"{self._config.agent.handoff_dir}: {_still(self._guest)}")
            if (
                self._config.processor.kind == "command"
                and signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
            ):
                raise ConfigError(
                    "SIGCHLD is ignored in this program, so the exit codes of commands would be lost; "
                    "call signal.signal(signal.SIGCHLD, signal.SIG_DFL) first, or use a Python function"
                )
            self._guest = Guest(self._make_agent)
            self._guest.start()

    def stop(self, timeout: float | None = None) -> None:
        """
        Take no more files, let running work finish within `shutdown_grace`, and return when everything has ended.

        What is not finished then runs again at the next start, and that does not count. Inside a handler or `on_file` it
        only asks for the end and returns. Does nothing where nothing runs.

        Args:
            timeout: seconds to wait at most; None for as long as it takes. It goes on stopping after that.

        Raises:
            TimedOutError: `timeout` is over.
            StopTimeoutError: a handler did not return; it is left behind, and with it the lock on the directory.
            ServiceCrashError: the watcher had crashed, or crashed now; see `error`.
            StoreError: so it had because of its database.
        """
        if getattr(self._inside, "ours", False):
            self._request_stop()
            return
        with self._lock:
            guest = self._guest
            self._request_stop()
        if guest is None:
            return
        if not guest.join(Deadline.after(math.inf if timeout is None else timeout)):
            raise TimedOutError(f"{self._path} is still stopping after {timeout:g}s; stop() waits on")
        if guest.error is not None:
            raise guest.error

    @property
    def running(self) -> bool:
        """
        Tell whether it works, or is just being started or stopped.
        """
        return self._guest is not None and self._guest.running

    @property
    def error(self) -> ConductorError | None:
        """
        What ended the last run, or went wrong when it was stopped; None while nothing has.
        """
        return self._guest.error if self._guest is not None else None

    def get_metrics(self) -> Metrics:
        """
        Return all numbers as they are now; before the first start zeros, after a stop those of its end.
        """
        guest = self._guest
        return flatten(self._idle.snapshot(), STOPPED) if guest is None else guest.metrics()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        except ConductorError as own:
            if error is None:
                raise
            log.error("%s", own)  # noqa: TRY400 - the exception that is under way is the one to be seen

    @property
    def _path(self) -> Path:
        return self._config.agent.handoff_dir

    def _request_stop(self) -> None:
        if self._guest is not None:
            self._guest.request_stop()

    def _make_agent(self, stack: ExitStack) -> Agent:
        processor = self._config.processor
        handler = None
        if processor.kind == "python":
            handler = self._as_inside(self._handler or load_handler(processor.handler))
        return Agent(
            self._config, stack, embedded=True, handler=handler, show=self._as_inside(self._tell_all)
        )

    def _as_inside(self, function: Callable[[T], R]) -> Callable[[T], R]:
        """
        Have a function known as one of ours while it runs: a stop in it cannot wait for it.
        """

        def call(argument: T) -> R:
            self._inside.ours = True
            return function(argument)

        return call

    def _tell_all(self, files: Sequence[Filed]) -> None:
        for filed in files:
            self._tell(filed)

    def _tell(self, filed: Filed) -> None:
        try:
            if self._on_file is not None:
                self._on_file(self._result(filed))
        except BaseException:  # it is not ours: whatever it raises, it is to be told of the next file as well
            log.exception("on_file failed for %s (%s)", display_name(filed.name), filed.id)

    def _result(self, filed: Filed) -> FileResult:
        agent = self._config.agent
        folder = agent.processed_dir if filed.outcome is Outcome.PROCESSED else agent.failed_dir
        return FileResult(
            id=filed.id,
            name=filed.name,
            outcome=filed.outcome,
            kind=filed.kind,
            message=filed.message,
            finished_at=clock.to_datetime(filed.finished_at),
            duration_seconds=filed.duration,
            path=folder / filed.filed_as if filed.filed_as else None,
        )


def _still(guest: Guest) -> str:
    if guest.running:
        return "this watcher runs already; stop it first"
    return "a handler of the last run has not returned yet; start again when it has"
