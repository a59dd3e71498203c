"""
Names at which intake should look, between the threads that hear of them and the one that looks.
"""

from __future__ import annotations

import enum
import threading

MOST_NAMES = 100_000  #: about 15 MB; beyond it names are dropped and a scan finds them


class Hint(enum.Enum):
    """
    What the kernel said of a name.
    """

    MOVED = "moved"  #: renamed in, so nobody should be writing to it
    CLOSED = "closed"  #: a writer closed it; others may have it open


class Hints:
    """
    A bounded set of names, each with its latest hint; every method may be called from any thread.

    Dropping is harmless, because a hint only shortens the time until the next scan.

    Args:
        most: names that are kept.
    """

    def __init__(self, *, most: int = MOST_NAMES) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._there = threading.Event()
        self._names: dict[str, Hint] = {}
        self._scan = False

    def put(self, name: str, hint: Hint) -> None:
        """
        Add a name, or replace what was said of it: a file that was renamed in may be written to again.
        """
        with self._lock:
            if len(self._names) < self._most or name in self._names:
                self._names[name] = hint
            else:
                self._scan = True
        self.wake()

    def ask_scan(self) -> None:
        """
        Say that names were lost, so that only a scan finds them.
        """
        with self._lock:
            self._scan = True
        self.wake()

    def wake(self) -> None:
        """
        End a `wait`.
        """
        if not self._there.is_set():
            self._there.set()

    def wait(self, seconds: float) -> None:
        """
        Wait until there is something to take, or for `seconds`.
        """
        self._there.wait(seconds)

    def take(self) -> tuple[dict[str, Hint], bool]:
        """
        Return all names and whether a scan is needed, and begin anew.
        """
        self._there.clear()
        with self._lock:
            taken = self._names, self._scan
            self._names, self._scan = {}, False
        return taken

    @property
    def empty(self) -> bool:
        return not self._names and not self._scan
