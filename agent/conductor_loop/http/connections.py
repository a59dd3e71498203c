"""
The cap on open connections, and who gives way at it.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from typing import Protocol


def share_of_descriptors() -> int:
    """
    Return how many of the descriptors that this process may have are for connections: files need the others.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(1, soft // 4)


class Closable(Protocol):
    """
    A connection's stream.
    """

    def close(self) -> None: ...


class Connections:
    """
    Keeps the open connections in the order in which they began to wait for a request; used by one thread.

    Bytes of an unfinished request do not move a connection up: a client that trickles is as quiet as a silent one.

    Args:
        most: open connections at a time; beyond it, the one that has waited longest is closed for a new one.
            Those whose request is being answered are left alone.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[Closable, None] = {}
        self._served: set[Closable] = set()
        self._idle = asyncio.Event()  # whether none is served
        self._idle.set()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._served)

    def open(self, stream: Closable) -> None:
        """
        Take in a new connection.
        """
        if len(self) >= self._most:
            self.make_room()
        self._waiting[stream] = None

    def make_room(self) -> bool:
        """
        Close the connection that has waited longest; tell whether there was one.
        """
        quietest = next(iter(self._waiting), None)
        if quietest is None:
            return False
        del self._waiting[quietest]
        quietest.close()
        return True

    def await_request(self, stream: Closable) -> None:
        """
        Note that a connection begins to wait for its next request.
        """
        self._end_serving(stream)
        self._waiting.pop(stream, None)
        self._waiting[stream] = None

    def serve(self, stream: Closable) -> None:
        """
        Note that a connection's request is complete.
        """
        self._waiting.pop(stream, None)
        self._served.add(stream)
        self._idle.clear()

    def close(self, stream: Closable) -> None:
        """
        Forget a connection that was closed, whoever did it.
        """
        self._waiting.pop(stream, None)
        self._end_serving(stream)

    async def all_answered(self) -> None:
        """
        Wait until no request is being answered.
        """
        await self._idle.wait()

    def _end_serving(self, stream: Closable) -> None:
        self._served.discard(stream)
        if not self._served:
            self._idle.set()
