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

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  #: the last one when the terminal is closed


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
        self._on_signal: Callable[[signal.Signals], None] = _raise_forced
        self._started: list[Service] = []
        self._late: list[Service] = []
        # SimpleQueue.put is safe inside a signal handler; Event.set is not (it can meet its own lock).
        self._mailbox: queue.SimpleQueue[Reason] = queue.SimpleQueue()

    def set_grace(self, seconds: float) -> None:
        """
        Replace the time that stopping may take; a stop that has begun keeps its own.
        """
        self._grace = seconds

    def request_stop(self, reason: str) -> None:
        """
        Ask for the end; returns at once, callable from any thread and from signal handlers.
        """
        self._mailbox.put(reason)

    def start(self) -> None:
        """
        Start all services; if one fails, those started are stopped and its exception is raised.
        """
        try:
            for service in self._services:
                self._started.append(
                    service
                )  # before, so that one whose start is cut short is stopped as well
                service.start(self._on_crash)
            self._on_start()
        except _StoppedError:
            raise  # `run` stops them, and a second signal meets that
        except BaseException:
            self._end()
            raise

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
            except Exception as error:  # noqa: BLE001 - whatever it is, services must be stopped
                self._on_crash("main loop", error)

    def stop(self) -> None:
        """
        Stop all started services in reverse order against one deadline.

        Raises:
            StopTimeoutError: naming those that were late.
        """
        self._on_stop()
        self._end()
        if self._late:
            names = ", ".join(service.name for service in self._late)
            raise StopTimeoutError(f"still busy after {self._grace:g}s: {names}")

    def join_late(self, deadline: Deadline) -> bool:
        """
        Wait for the services that were late when they were stopped; tell whether all have ended.
        """
        return all(service.join(deadline) for service in self._late)

    def take_crash(self) -> ServiceCrashError | None:
        """
        Return the crash of a service that came while it was stopping, so that nobody takes the end for a good one.
        """
        while not self._mailbox.empty():
            reason = self._mailbox.get()
            if isinstance(reason, ServiceCrashError):
                return reason
        return None

    def run(self) -> None:
        """
        Start, wait for SIGTERM, SIGINT, SIGHUP or a crash, stop. A signal while starting stops as well.

        Raises:
            ForcedStopError: a second signal came; nothing was waited for any more.
            ServiceCrashError: with the service's exception as its cause.
            StopTimeoutError: naming those that were late.
        """
        with self._handling_signals():
            try:
                reason = self._start_and_wait()
            except ForcedStopError:
                self._force()
                raise
            self._stop_because(reason)

    def _start_and_wait(self) -> Reason:
        self._on_signal = self._raise_stopped
        try:
            self.start()
            self._on_signal = self._post_signal
            return self.wait()
        except _StoppedError as stopped:
            return str(stopped)

    def _stop_because(self, reason: Reason) -> None:
        self._on_signal = _raise_forced
        log.info("stopping: %s", reason)
        try:
            self.stop()
            crash = self.take_crash()
            if crash is not None:
                raise crash
        except ForcedStopError:
            self._force()
            raise
        finally:
            if isinstance(reason, ServiceCrashError):
                raise reason

    def _raise_stopped(self, number: signal.Signals) -> None:
        self._on_signal = _raise_forced
        raise _StoppedError(number.name)

    def _post_signal(self, number: signal.Signals) -> None:
        self._mailbox.put(number.name)

    @contextmanager
    def _handling_signals(self) -> Iterator[None]:
        def handler(number: int, frame: FrameType | None) -> None:
            self._on_signal(signal.Signals(number))

        before = {number: signal.signal(number, handler) for number in _ENDING}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)

    def _on_crash(self, name: str, error: BaseException) -> None:
        crash = ServiceCrashError(f"{name} crashed: {error!r}")
        crash.__cause__ = error
        self._mailbox.put(crash)

    def _end(self) -> None:
        deadline = Deadline.after(self._grace)
        while self._started:
            service = self._started.pop()
            service.request_stop()
            if not service.join(deadline):
                self._late.append(service)


class _StoppedError(Exception):
    """
    A signal came before everything was started.
    """


def _raise_forced(number: signal.Signals) -> None:
    # The main thread is in a join, so this ends the waiting and nothing else.
    raise ForcedStopError(f"second signal ({number.name}): stopped at once", exit_code=128 + number)
