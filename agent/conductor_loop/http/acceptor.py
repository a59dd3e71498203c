"""
Taking connections from a listening socket, also when the process or the machine runs out of something.

Stock accept handlers let the error through to the event loop, which logs a traceback and calls again at once.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import time
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

#: Of descriptors, of the process or the machine, and of memory.
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})

_PAUSE_SECONDS = 1.0
_QUIET_SECONDS = 60.0  # between two log lines


class Acceptor:
    """
    Accepts on a socket for as long as it is open; made and used in the thread of a running event loop.

    Args:
        listener: non-blocking; closed by `close`.
        accepted: gets each connection and its peer's address.
        make_room: closes a connection when there is no descriptor or memory for a new one; tells whether it could.
        pause_seconds: for how long nothing is accepted where there was no room.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        accepted: Callable[[socket.socket, Any], None],
        make_room: Callable[[], bool],
        pause_seconds: float = _PAUSE_SECONDS,
    ) -> None:
        self._listener = listener
        self._accepted = accepted
        self._make_room = make_room
        self._pause_seconds = pause_seconds
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._quiet_until = 0.0
        self._resume()

    def close(self) -> None:
        """
        Stop accepting and close the socket.
        """
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _resume(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        # One at a time, and only when the loop knows of one: without a descriptor the kernel does not even look
        # whether anybody waits, and room would be made for nobody.
        try:
            connection, address = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # whoever it was has gone
        except OSError as error:
            self._complain(error)
            if error.errno not in SHORTAGES or not self._make_room():
                self._rest()
        else:
            self._accepted(connection, address)

    def _rest(self) -> None:
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(self._pause_seconds, self._resume)

    def _complain(self, error: OSError) -> None:
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            log.warning("cannot take a connection: %s", os.strerror(error.errno or 0))
