"""
Takes messages off a thread that must not wait, and hands them to something that may.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from conductor_loop.runtime.deadline import Deadline
from conductor_loop.runtime.mailbox import Mailbox
from conductor_loop.runtime.service import ThreadService

T = TypeVar("T")

_MOST = 10_000  #: messages kept for a slow taker; what comes beyond them is dropped
_IDLE_SECONDS = 60.0
_END_SECONDS = 1.0


class Relay(ThreadService, Generic[T]):
    """
    Calls `deliver` in a thread of its own, one message after the other.

    Args:
        insist: a stop waits, as long as it may at all, until everything is delivered; else only a moment, for a taker
            that does not take must not hold up anybody's end.
        held: nothing is delivered before `release`, or a stop.
    """

    def __init__(
        self, name: str, deliver: Callable[[T], None], *, insist: bool = False, held: bool = False
    ) -> None:
        super().__init__(name, self._loop, wake=self.release)
        self._deliver = deliver
        self._insist = insist
        self._released = threading.Event()
        if not held:
            self._released.set()
        self._mailbox: Mailbox[T | None] = Mailbox()

    def send(self, message: T) -> None:
        """
        Pass a message on; returns at once.
        """
        if self._mailbox.size < _MOST:
            self._mailbox.put(message)

    def release(self) -> None:
        """
        Deliver from now on, first what was held; returns at once.
        """
        self._released.set()
        self._mailbox.put(None)

    def join(self, deadline: Deadline) -> bool:
        """
        Wait for what is under way.
        """
        if self._insist:
            return super().join(deadline)
        super().join(Deadline(min(deadline.at, Deadline.after(_END_SECONDS).at)))
        return True

    def _loop(self, stop: threading.Event) -> None:
        self._released.wait()
        while not (stop.is_set() and self._mailbox.empty):
            for message in self._mailbox.take(_IDLE_SECONDS):
                if message is not None:
                    self._deliver(message)
