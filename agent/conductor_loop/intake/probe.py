"""
A hidden file of our own now and then: does its event still come, and how soon?
"""

from __future__ import annotations

import os
import time

ECHO_SECONDS = 10.0  #: without an event for so long the watch is taken for dead


class Probe:
    """
    Writes the file and waits for its event; `tick` and `cancel` in one thread, `echo` in any.

    Args:
        interval: seconds between two files.
        echo_seconds: how long an event may take.
    """

    def __init__(self, *, interval: float, echo_seconds: float = ECHO_SECONDS) -> None:
        #: A dotfile, so that no pattern takes it.
        self.name = f".conductor-echo-{os.getpid()}"
        self._interval = interval
        self._echo_seconds = echo_seconds
        self._next_at = 0.0
        self._sent_at: float | None = None
        self._echo_at: float | None = None

    def echo(self) -> None:
        """
        Say that the event came.
        """
        self._echo_at = time.monotonic()

    def cancel(self) -> None:
        """
        Wait for no event any more, and write the next file soon.
        """
        self._sent_at = None
        self._next_at = 0.0

    def tick(self, dir_fd: int, now: float) -> float | None:
        """
        Write the file when it is time.

        Returns:
            The seconds that the event took, once, when it came.
        """
        if self._sent_at is None:
            if now >= self._next_at:
                self._send(dir_fd)
        elif self._echo_at is not None:
            taken = self._echo_at - self._sent_at
            self._sent_at = None
            return max(0.0, taken)
        return None

    def missing(self, now: float) -> bool:
        """
        Tell whether an event is overdue.
        """
        return (
            self._sent_at is not None and self._echo_at is None and now - self._sent_at > self._echo_seconds
        )

    def _send(self, dir_fd: int) -> None:
        self._echo_at = None
        now = time.monotonic()
        self._next_at = now + self._interval
        flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            os.close(os.open(self.name, flags, 0o600, dir_fd=dir_fd))
            os.unlink(self.name, dir_fd=dir_fd)
        except OSError:
            return  # not writable, or full: then there is no probe
        self._sent_at = now
