"""
The HTTP service: the narrow door behind which tornado carries a WSGI application.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from wsgiref.types import WSGIApplication

from conductor_loop.http.connections import Connections, share_of_descriptors
from conductor_loop.http.holder import holder
from conductor_loop.http.wsgi import LimitedServer
from conductor_loop.metrics.live import Live
from conductor_loop.metrics.snapshot import State
from conductor_loop.runtime.service import OnCrash, ThreadService

log = logging.getLogger(__name__)

HANDLERS = (
    24  #: requests that are answered at a time; one that waits for the store must not keep /health waiting
)
MAX_CONNECTIONS = 512
_BACKLOG = 512
_RETRY_SECONDS = 5.0


class HttpServer(ThreadService):
    """
    Serves `app` over TCP; while the port is taken it tries again and says so as component `metrics`.

    Args:
        app: must be thread-safe.
        host: an IPv4 or IPv6 address, or a name; "::" takes IPv4 too.
        port: 0 for no server at all.
        live: is told whether the port could be bound.
        max_connections: open at a time; a quarter of the descriptors that the process may have, if that is less.
    """

    def __init__(
        self,
        app: WSGIApplication,
        host: str,
        port: int,
        *,
        live: Live,
        max_connections: int = MAX_CONNECTIONS,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        super().__init__("http", self._run_loop, wake=self._wake_loop)
        self._app = app
        self._host = host
        self._port = port
        self._live = live
        self._max_connections = min(max_connections, share_of_descriptors())
        self._retry_seconds = retry_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._address: tuple[str, int] | None = None

    @property
    def address(self) -> tuple[str, int] | None:
        """
        Host and port that are bound; None while there are none.
        """
        return self._address

    def start(self, on_crash: OnCrash) -> None:
        if self._port:
            super().start(on_crash)

    def _run_loop(self, stop: threading.Event) -> None:
        asyncio.run(self._serve(stop))

    def _wake_loop(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._stopping.set)

    async def _serve(self, stop: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        # A stop before this line did not wake the loop, one after it does; here neither is lost.
        listener = None if stop.is_set() else await self._listen()
        if listener is None:
            return
        pool = ThreadPoolExecutor(HANDLERS, thread_name_prefix="http")
        server = LimitedServer(self._app, pool=pool, connections=Connections(self._max_connections))
        server.add_socket(listener)
        self._address = listener.getsockname()[:2]
        log.info("listening on http://%s:%d", self._host, self._port)
        await self._stopping.wait()
        self._address = None
        server.stop()
        await server.close_all_connections()
        # Waits for handlers that still run, so that none outlives the service unnoticed.
        pool.shutdown(cancel_futures=True)

    async def _listen(self) -> socket.socket | None:
        said: int | None = 0
        while not self._stopping.is_set():
            try:
                listener = _bind(self._host, self._port)
            except OSError as error:
                self._complain(error, log.debug if error.errno == said else log.warning)
                said = error.errno
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), self._retry_seconds)
            else:
                self._live.health("metrics", State.HEALTHY)
                return listener
        return None

    def _complain(self, error: OSError, write: Callable[..., None]) -> None:
        message = (
            f"cannot listen on {self._host} port {self._port}: {_explain(error, self._port)}; "
            f"files go on, tried again every {self._retry_seconds:g}s"
        )
        self._live.health("metrics", State.UNHEALTHY, message)
        write("%s", message)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.getaddrinfo(host or None, port, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError as error:  # a name that cannot even be asked for
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from error
    address = found[0][4]
    listener = socket.create_server(address, family=family, backlog=_BACKLOG, dualstack_ipv6=host == "::")
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
