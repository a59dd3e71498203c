"""
Capturing output of any size in little memory.
"""

from __future__ import annotations


class HeadTail:
    """
    Keeps the first and the last half of a byte stream and counts the rest.

    Args:
        limit: bytes that are kept at most.
    """

    def __init__(self, limit: int) -> None:
        self.total = 0
        self._head_size = limit // 2
        self._tail_size = limit - self._head_size
        self._head = b""
        self._tail = bytearray()

    def feed(self, chunk: bytes) -> None:
        """
        Take the next bytes of the stream.
        """
        self.total += len(chunk)
        room = self._head_size - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        # Now and then instead of each time: moving the tail costs more than keeping it twice.
        if len(self._tail) > 2 * self._tail_size:
            self._trim()

    def value(self) -> bytes:
        """
        Return what is kept, with a line in the middle that says how much is not.
        """
        self._trim()
        left_out = self.total - len(self._head) - len(self._tail)
        marker = b"\n... %d bytes left out ...\n" % left_out if left_out else b""
        return self._head + marker + bytes(self._tail)

    def _trim(self) -> None:
        del self._tail[: max(0, len(self._tail) - self._tail_size)]
