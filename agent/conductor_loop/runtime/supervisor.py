"""
The one owner of all services: starts them in order, waits on one mailbox, stops them in reverse.
"""

from __future__ import annotations

import logging
import queue
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from conductor_loop.errors import ForcedStopError, ServiceCrashError, StopTimeoutError
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.runtime.service import Service

log = logging.getLogger(__name__)

Reason = str | ServiceCrashError


class Supervisor:
    """
    Runs services.

    Args:
        services: in the order of starting.
        grace: seconds that stopping may take, all services together.
        beat: called by `wait` about once a second; what it raises ends the agent as a crash does.
        on_start: called when all services have started.
        on_stop: called once when stopping begins.
        force: called when a second signal comes while stopping; must end at once what runs.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        grace: float,
        beat: Callable[[], None] = lambda: None,
        on_start: Callable[[], None] = lambda: None,
        on_stop: Callable[[], None] = lambda: None,
        force: Callable[[], None] = lambda: None,
    ) -> None:
        self._services = services
        self._grace = grace
        self._beat = beat
        self._on_start = on_start
        self._on_stop = on_stop
        self._force = force
        self._started: list[Service] = []
        # SimpleQueue.put is safe inside a signal handler; Event.set is not (it can meet its own lock).
        self._mailbox: queue.SimpleQueue[Reason] = queue.SimpleQueue()

    def request_stop(self, reason: str) -> None:
        """
        Ask for the end; returns at once, callable from any thread and from signal handlers.
        """
        self._mailbox.put(reason)

    def start(self) -> None:
        """
        Start all services; if one fails, those before it are stopped and its exception is raised.
        """
        try:
            for service in self._services:
                service.start(self._on_crash)
                self._started.append(service)
        except BaseException:
            self._end()
            raise
        self._on_start()

    def wait(self) -> Reason:
        """
        Block until somebody asks for the end or a service crashes; return the reason.
        """
        while True:
            try:
                return self._mailbox.get(timeout=1.0)
            except queue.Empty:
                pass
            try:
                self._beat()
            except ServiceCrashError as crash:
                return crash

    def stop(self) -> None:
        """
        Stop all started services in reverse order against one deadline.

        Raises:
            StopTimeoutError: naming those that were late.
        """
        self._on_stop()
        late = self._end()
        if late:
            raise StopTimeoutError(f"still busy after {self._grace:g}s: {', '.join(late)}")

    def run(self) -> None:
        """
        Start, wait for SIGTERM or SIGINT or a crash, stop.

        Raises:
            ForcedStopError: a second signal came; nothing was waited for any more.
            ServiceCrashError: with the service's exception as its cause.
            StopTimeoutError: naming those that were late.
        """
        with _handling(lambda number: self._mailbox.put(number.name)):
            self.start()
            reason = self.wait()
        log.info("stopping: %s", reason)
        try:
            with _handling(_raise_forced):
                self.stop()
            self._raise_late_crash()
        except ForcedStopError:
            self._force()
            raise
        finally:
            if isinstance(reason, ServiceCrashError):
                raise reason

    def _raise_late_crash(self) -> None:
        """
        Raise the crash of a service that came while it was stopping, so that nobody takes the end for a good one.
        """
        while not self._mailbox.empty():
            reason = self._mailbox.get()
            if isinstance(reason, ServiceCrashError):
                raise reason

    def _on_crash(self, name: str, error: BaseException) -> None:
        crash = ServiceCrashError(f"{name} crashed: {error!r}")
        crash.__cause__ = error
        self._mailbox.put(crash)

    def _end(self) -> list[str]:
        deadline = Deadline.after(self._grace)
        late = []
        while self._started:
            service = self._started.pop()
            service.request_stop()
            if not service.join(deadline):
                late.append(service.name)
        return late


def _raise_forced(number: signal.Signals) -> None:
    # The main thread is in a join, so this ends the waiting and nothing else.
    raise ForcedStopError(f"second signal ({number.name}): stopped at once", exit_code=128 + number)


@contextmanager
def _handling(handle: Callable[[signal.Signals], None]) -> Iterator[None]:
    def handler(number: int, frame: FrameType | None) -> None:
        handle(signal.Signals(number))

    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
