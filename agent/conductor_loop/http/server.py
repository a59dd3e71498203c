"""
The HTTP services: the narrow door behind which tornado carries WSGI applications.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from wsgiref.types import WSGIApplication

from conductor_loop.http.connections import Connections, share_of_descriptors
from conductor_loop.http.listener import Listener, ListenError, TcpListener
from conductor_loop.http.unixsocket import UnixListener
from conductor_loop.http.wsgi import LimitedServer
from conductor_loop.metrics.live import Live
from conductor_loop.metrics.snapshot import State
from conductor_loop.runtime.service import OnCrash, ThreadService

log = logging.getLogger(__name__)

HANDLERS = (
    24  #: requests that are answered at a time; one that waits for the store must not keep /health waiting
)
ADMIN_HANDLERS = 4
MAX_CONNECTIONS = 512
MAX_ADMIN_CONNECTIONS = 64
_RETRY_SECONDS = 5.0
_LAST_ANSWERS_SECONDS = 2.0  #: at the end, for what is being answered


class WebServer(ThreadService):
    """
    Serves an application at one place. While that cannot be had it says so and tries again.

    Args:
        name: of the service and its threads.
        app: must be thread-safe.
        listener: the place.
        tell: is told what is wrong with the place, and None once nothing is.
        handlers: requests that are answered at a time.
        max_connections: open at a time; a quarter of the descriptors that the process may have, if that is less.
        retry_seconds: between two looks at the place.
    """

    def __init__(
        self,
        name: str,
        app: WSGIApplication,
        listener: Listener,
        *,
        tell: Callable[[str | None], None],
        handlers: int,
        max_connections: int,
        retry_seconds: float,
    ) -> None:
        super().__init__(name, self._run_loop, wake=self._wake_loop)
        self._app = app
        self._listener = listener
        self._tell = tell
        self._handlers = handlers
        self._max_connections = min(max_connections, share_of_descriptors())
        self._retry_seconds = retry_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._listening = False
        self._told: str | None = ""  # nothing yet

    @property
    def listening(self) -> bool:
        """
        Whether clients can come.
        """
        return self._listening

    def _run_loop(self, stop: threading.Event) -> None:
        asyncio.run(self._serve(stop))

    def _wake_loop(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._stopping.set)

    async def _serve(self, stop: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        if stop.is_set():
            return  # a stop before the line above did not wake the loop, one after it does: neither is lost
        pool = ThreadPoolExecutor(self._handlers, thread_name_prefix=self.name)
        connections = Connections(self._max_connections)
        server = LimitedServer(
            self._app, pool=pool, connections=connections, identify=self._listener.identify
        )
        while not self._stopping.is_set():
            self._look_after(server)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._retry_seconds)
        self._listening = False
        self._listener.release()
        server.stop()
        with suppress(TimeoutError):
            await asyncio.wait_for(connections.all_answered(), _LAST_ANSWERS_SECONDS)
        await server.close_all_connections()
        # Waits for handlers that still run, so that none outlives the service unnoticed.
        pool.shutdown(cancel_futures=True)

    def _look_after(self, server: LimitedServer) -> None:
        """
        Listen, if nobody does yet or clients cannot find what was made for them.
        """
        try:
            if not self._listener.intact:
                server.add_socket(self._listener.bind())
                log.info("listening on %s", self._listener.where)
        except ListenError as error:
            self._listening = False
            self._say(f"{error}; files go on, tried again every {self._retry_seconds:g}s")
        else:
            self._listening = True
            self._say(None)

    def _say(self, problem: str | None) -> None:
        if problem == self._told:
            return
        if problem is not None:
            log.log(logging.INFO if self._told else logging.WARNING, "%s", problem)
        self._told = problem
        self._tell(problem)


class HttpServer(WebServer):
    """
    The service over TCP; while the port is taken, component `metrics` is unhealthy.

    Args:
        app: must be thread-safe.
        host: an IPv4 or IPv6 address, or a name; "::" takes IPv4 too.
        port: 0 for no server at all.
        live: is told whether the port could be bound.
        max_connections: open at a time.
        retry_seconds: until a taken port is tried again.
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
        super().__init__(
            "http",
            app,
            TcpListener(host, port),
            tell=self._tell_live,
            handlers=HANDLERS,
            max_connections=max_connections,
            retry_seconds=retry_seconds,
        )
        self._wanted = port != 0
        self._live = live

    def start(self, on_crash: OnCrash) -> None:
        if self._wanted:
            super().start(on_crash)

    def _tell_live(self, problem: str | None) -> None:
        self._live.health("metrics", State.UNHEALTHY if problem else State.HEALTHY, problem or "")


class AdminServer(WebServer):
    """
    The service on the admin socket; while that cannot be had, there is a warning.

    Args:
        app: as `make_admin_app` returns it; must be thread-safe.
        path: of the socket.
        live: is told whether the socket could be made.
        max_connections: open at a time.
        retry_seconds: until it is looked at again.
    """

    def __init__(
        self,
        app: WSGIApplication,
        path: Path,
        *,
        live: Live,
        max_connections: int = MAX_ADMIN_CONNECTIONS,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        super().__init__(
            "admin",
            app,
            UnixListener(path),
            tell=lambda problem: live.warn("admin", problem),
            handlers=ADMIN_HANDLERS,
            max_connections=max_connections,
            retry_seconds=retry_seconds,
        )
