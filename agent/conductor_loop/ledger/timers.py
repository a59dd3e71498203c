"""
What the ledger does later.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable

from conductor_loop.ledger.page import Page

Action = Callable[[Page], None]


class Timers:
    """
    Actions by their moment on the monotonic clock; used by one thread.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Action]] = []
        self._turn = itertools.count()

    def after(self, delay: float, action: Action) -> None:
        """
        Do `action` in `delay` seconds.
        """
        heapq.heappush(self._heap, (time.monotonic() + delay, next(self._turn), action))

    def wait(self, most: float) -> float:
        """
        Return the seconds until the next action, at most `most`.
        """
        if not self._heap:
            return most
        return min(most, max(0.0, self._heap[0][0] - time.monotonic()))

    def run_due(self, page: Page) -> None:
        """
        Do everything whose moment has come; what that adds waits for the next call.
        """
        now = time.monotonic()
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[2])
        for action in due:
            action(page)
