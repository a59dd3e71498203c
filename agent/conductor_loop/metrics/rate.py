"""
Events per second over the last minute.
"""

from __future__ import annotations

WINDOW = 60  #: seconds


class Rate:
    """
    Counts events in bins of one second; bounded, and not thread-safe.
    """

    def __init__(self) -> None:
        self._counts = [0] * WINDOW
        self._seconds = [-1] * WINDOW  # the second that each bin holds

    def add(self, events: int, now: float) -> None:
        """
        Count `events` at the monotonic moment `now`.
        """
        second = int(now)
        place = second % WINDOW
        if self._seconds[place] != second:
            self._seconds[place], self._counts[place] = second, 0
        self._counts[place] += events

    def per_second(self, now: float) -> float:
        """
        Return the mean rate of the minute before `now`, that of a younger agent as well: it only fills up.
        """
        oldest = int(now) - WINDOW
        bins = zip(self._seconds, self._counts, strict=True)
        return sum(count for second, count in bins if second > oldest) / WINDOW
