"""
TCP ports for tests.
"""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """
    Return a port of 127.0.0.1 that nobody listens on.

    Outside the range that the kernel gives to outgoing connections, so that none of those takes it meanwhile.
    """
    for _ in range(100):
        port = random.randrange(20_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no free port between 20000 and 30000")
