"""
Services: the only place that makes threads.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from conductor_loop.runtime.deadline import Deadline

log = logging.getLogger(__name__)

_SLICE = 0.2  #: seconds that one wait for the end of a thread takes at most

OnCrash = Callable[[str, BaseException], None]


class Service(Protocol):
    """
    Something that runs between `start` and `join`.
    """

    @property
    def name(self) -> str: ...

    def start(self, on_crash: OnCrash) -> None:
        """
        Begin; an exception here means that nothing was started.
        """

    def request_stop(self) -> None:
        """
        Ask for the end; returns at once, safe to call twice and before `start`.
        """

    def join(self, deadline: Deadline) -> bool:
        """
        Wait for the end until `deadline`; tell whether it came.
        """


class ThreadService:
    """
    A service that is one named thread running one function until its stop event is set.

    Args:
        name: of the service, its thread and its log lines.
        body: called with the stop event in the new thread; must return soon after the event is set. An exception
            from it is a crash of the service.
        wake: called by `request_stop` after the event is set, for a body that waits on something else.
    """

    def __init__(
        self, name: str, body: Callable[[threading.Event], None], *, wake: Callable[[], None] | None = None
    ) -> None:
        self.name = name
        self._body = body
        self._wake = wake
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, on_crash: OnCrash) -> None:
        self._thread = threading.Thread(target=self._run, args=(on_crash,), name=self.name, daemon=True)
        self._thread.start()

    def request_stop(self) -> None:
        self._stop.set()
        if self._wake is not None:
            self._wake()

    def join(self, deadline: Deadline) -> bool:
        if self._thread is None:
            return True
        while self._thread.is_alive() and not deadline.expired:
            # In slices: Python sees a signal that comes just before a wait begins only at the end of that wait.
            self._thread.join(min(_SLICE, deadline.remaining()))
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self, on_crash: OnCrash) -> None:
        try:
            self._body(self._stop)
        except BaseException as error:  # the boundary of this thread
            log.exception("%s crashed", self.name)
            on_crash(self.name, error)


class Ticker(ThreadService):
    """
    A service that calls `tick` at once and then every `interval` seconds.
    """

    def __init__(self, name: str, tick: Callable[[], None], *, interval: float) -> None:
        self._look = threading.Event()
        super().__init__(name, self._loop, wake=self._look.set)
        self._tick = tick
        self._interval = interval

    def set_interval(self, seconds: float) -> None:
        """
        Tick at once, and from then on so often; any thread, returns at once.
        """
        self._interval = seconds
        self._look.set()

    def _loop(self, stop: threading.Event) -> None:
        while True:
            self._tick()
            self._look.wait(self._interval)
            self._look.clear()  # before the question: what is said after it ends the next wait
            if stop.is_set():
                return
