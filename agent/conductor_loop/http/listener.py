"""
Where a server listens: a TCP port, or a unix socket.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Protocol

from conductor_loop.http.holder import holder
from conductor_loop.http.peer import Peer

BACKLOG = 512


class ListenError(Exception):
    """
    One cannot listen there now; the message says why.
    """


class Listener(Protocol):
    """
    A place to listen at; used by the one thread of its server.
    """

    @property
    def where(self) -> str:
        """
        Name the place, as a log line does.
        """

    @property
    def intact(self) -> bool:
        """
        Tell whether clients still find what `bind` made.
        """

    def bind(self) -> socket.socket:
        """
        Return a new listening socket, non-blocking.

        Raises:
            ListenError: there can be none now.
        """

    def identify(self, connection: socket.socket) -> Peer | None:
        """
        Return who has connected, None where that cannot be known.

        Raises:
            OSError: it should be known, and is not.
        """

    def release(self) -> None:
        """
        Leave the place to others; nothing happens if it is not ours.
        """


class TcpListener:
    """
    A TCP port of this machine.

    Args:
        host: an IPv4 or IPv6 address, or a name; "::" takes IPv4 too.
        port: not 0.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._bound = False
        self.where = f"http://{host}:{port}"

    @property
    def intact(self) -> bool:
        return self._bound

    def bind(self) -> socket.socket:
        try:
            listener = _bind(self._host, self._port)
        except OSError as error:
            message = f"cannot listen on {self._host} port {self._port}: {_explain(error, self._port)}"
            raise ListenError(message) from error
        self._bound = True
        return listener

    def identify(self, connection: socket.socket) -> None:
        return None

    def release(self) -> None:
        self._bound = False


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.getaddrinfo(host or None, port, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError as error:  # a name that cannot even be asked for
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from error
    address = found[0][4]
    listener = socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=host == "::")
    listener.setblocking(False)
    return listener


def _explain(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"taken by {holder(port) or 'another process'}"
    if error.errno == errno.EADDRNOTAVAIL:
        return "not an address of this machine"
    if error.errno is None or error.errno < 0:  # getaddrinfo numbers its errors so
        return "not an IP address, and not a name that can be resolved"
    return os.strerror(error.errno)
