"""
A queue that is emptied in batches.
"""

from __future__ import annotations

import queue
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """
    An unbounded queue from many threads to one.

    Args:
        most: messages that one `take` returns at most, so that a flood cannot put off what follows a batch.
    """

    def __init__(self, *, most: int = 256) -> None:
        self._queue: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._most = most

    def put(self, message: T) -> None:
        """
        Add a message; never blocks, safe in signal handlers.
        """
        self._queue.put(message)

    def take(self, timeout: float) -> list[T]:
        """
        Wait up to `timeout` seconds for a message; return all that are there, oldest first.
        """
        try:
            batch = [self._queue.get(timeout=timeout)]
        except queue.Empty:
            return []
        try:
            while len(batch) < self._most:
                batch.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return batch

    @property
    def empty(self) -> bool:
        return self._queue.empty()

    @property
    def size(self) -> int:
        return self._queue.qsize()
