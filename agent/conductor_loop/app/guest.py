"""
An agent as a guest in somebody else's process: it ends without ending its host, and takes along what it brought.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Callable
from contextlib import ExitStack

from conductor_loop.app.agent import Agent
from conductor_loop.errors import ConductorError, ServiceCrashError, StopTimeoutError
from conductor_loop.metrics.flat import Metrics, flatten
from conductor_loop.metrics.snapshot import State
from conductor_loop.metrics.verdict import assess
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.runtime.service import ThreadService

log = logging.getLogger(__name__)

STOPPED = "stopped"  #: the status of what does not run, and did not go wrong
_REST_SECONDS = 0.5  #: between two looks at a handler that does not return


class Guest:
    """
    One run of an agent; for another one, make another.

    Args:
        make: makes the agent; what it puts on the stack is closed at the end.

    Attributes:
        error: what ended it, or went wrong when it was stopped; None while nothing has.

    Raises:
        ConductorError: it cannot be made; nothing is left behind.
    """

    def __init__(self, make: Callable[[ExitStack], Agent]) -> None:
        self.error: ConductorError | None = None
        self._last: Metrics | None = None
        self._started: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._loop = ThreadService("watcher", self._run)
        self._rest = ThreadService("watcher-rest", self._wait_for_rest)
        with ExitStack() as stack:
            self._agent = make(stack)
            self._stack = stack.pop_all()

    def start(self) -> None:
        """
        Return when everything runs; once.

        Raises:
            ConductorError: it does not; nothing is left behind. Nor is it by an interrupt (Ctrl-C), wherever that comes.
        """
        try:
            self._loop.start(self._crashed)
            error = self._started.get()
        except BaseException:
            self.request_stop()
            self.join(Deadline.after(math.inf))
            if self._last is None:  # there is no thread to be had, which would have done it
                self._release()
            raise
        if error is not None:
            self.join(Deadline.after(math.inf))
            raise error

    @property
    def running(self) -> bool:
        """
        Tell whether it works, or is just being started or stopped.
        """
        return self._loop.alive

    @property
    def over(self) -> bool:
        """
        Tell whether nothing of it is left: neither a thread, nor a descriptor, nor a lock.
        """
        return not (self._loop.alive or self._rest.alive)

    def request_stop(self) -> None:
        """
        Ask for the end, also while it starts; returns at once, from any thread.
        """
        self._agent.supervisor.request_stop("asked by the program that it is part of")

    def join(self, deadline: Deadline) -> bool:
        """
        Wait for the end until `deadline`; tell whether it came.
        """
        return self._loop.join(deadline)

    def metrics(self) -> Metrics:
        """
        Return the numbers as they are, after the end as they were then.
        """
        return self._last or self._measure()

    def _run(self, stop: threading.Event) -> None:
        try:
            self._work()
        finally:
            self._last = self._measure(STOPPED if self.error is None else State.UNHEALTHY)
            self._release()

    def _work(self) -> None:
        try:
            self._agent.supervisor.start()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the one who waits for the start
            self._started.put(error)
            return
        self._started.put(None)
        reason = self._agent.supervisor.wait()
        log.info("stopping: %s", reason)
        self._end(reason)

    def _end(self, reason: str | ServiceCrashError) -> None:
        supervisor = self._agent.supervisor
        try:
            supervisor.stop()
        except StopTimeoutError as late:
            log.warning("%s", late)
            self.error = late
        crash = reason if isinstance(reason, ServiceCrashError) else supervisor.take_crash()
        if crash is not None:
            self.error = self._explain(crash)
        elif self.error is not None:
            self._agent.marks.clear_all()  # an orderly stop counts for no file

    def _explain(self, crash: ServiceCrashError) -> ConductorError:
        try:
            self._agent.raise_cause(crash)
        except ConductorError as error:
            return error
        return crash

    def _measure(self, status: str | None = None) -> Metrics:
        snapshot = self._agent.live.snapshot()
        return flatten(snapshot, status or assess(snapshot).status)

    def _release(self) -> None:
        """
        Close everything; but not what a handler that does not return would meet on its way out, before it has.
        """
        if self._agent.supervisor.join_late(Deadline.after(0)):
            self._stack.close()
        else:
            self._rest.start(self._crashed)

    def _wait_for_rest(self, stop: threading.Event) -> None:
        while not self._agent.supervisor.join_late(Deadline.after(0)):
            stop.wait(_REST_SECONDS)
        self._stack.close()

    def _crashed(self, name: str, error: BaseException) -> None:
        crash = ServiceCrashError(f"{name} crashed: {error!r}")
        crash.__cause__ = error
        self.error = crash
