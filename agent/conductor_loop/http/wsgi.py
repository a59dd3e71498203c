"""
A WSGI application behind tornado's parser, with the limits that tornado leaves to its user.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, cast
from wsgiref.types import WSGIApplication

from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    ResponseStartLine,
)
from tornado.iostream import IOStream, StreamClosedError
from tornado.wsgi import WSGIContainer

from conductor_loop.http.acceptor import Acceptor
from conductor_loop.http.connections import Connections
from conductor_loop.http.peer import Peer, note

log = logging.getLogger(__name__)

DEADLINE = 10.0  #: seconds for a request's header, for its body, and for each piece of the answer
MAX_HEADER_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024

# Of a malformed request tornado makes a line at level info: anybody who can connect could fill the log.
if not logging.getLogger("tornado.general").level:
    logging.getLogger("tornado.general").setLevel(logging.WARNING)

_PIECE = 64 * 1024  # bytes of an answer that a client must take within the deadline
_BUFFER_BYTES = 256 * 1024  # of one connection's unread input; more than header, body and one read together


class LimitedServer(HTTPServer):
    """
    An HTTP server whose connections are counted and capped, and taken in a way that survives shortages.
    """

    _acceptor: Acceptor | None = None

    def initialize(  # type: ignore[override] # tornado constructs by this method
        self,
        app: WSGIApplication,
        *,
        pool: Executor,
        connections: Connections,
        identify: Callable[[socket.socket], Peer | None],
    ) -> None:
        self._open = connections
        self._identify = identify
        super().initialize(
            _Bridge(app, pool, connections),
            idle_connection_timeout=DEADLINE,
            body_timeout=DEADLINE,
            max_header_size=MAX_HEADER_BYTES,
            max_body_size=MAX_BODY_BYTES,
            max_buffer_size=_BUFFER_BYTES,
        )

    def add_socket(self, socket: socket.socket) -> None:
        """
        Accept on this socket, and no longer on the one before.
        """
        self._close_acceptor()
        self._acceptor = Acceptor(socket, accepted=self._take, make_room=self._open.make_room)

    def stop(self) -> None:
        self._close_acceptor()
        super().stop()

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        self._open.open(stream)
        super().handle_stream(stream, address)

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        self._open.await_request(cast(HTTP1ServerConnection, server_conn).stream)
        return super().start_request(server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        self._open.close(cast(HTTP1ServerConnection, server_conn).stream)
        super().on_close(server_conn)

    def _close_acceptor(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None

    def _take(self, connection: socket.socket, address: Any) -> None:
        try:
            peer = self._identify(connection)
        except OSError as error:
            log.warning("the kernel does not say who has connected: %s", error)
            connection.close()
        else:
            # Who it is takes the place of the address, of which a client's unix socket has none.
            self.handle_stream(IOStream(connection, max_buffer_size=_BUFFER_BYTES), peer or address)


@dataclass(frozen=True, slots=True)
class _Reply:
    status: str
    headers: list[tuple[str, str]]
    body: bytes


class _Bridge(WSGIContainer):
    """
    Runs the application on a pool and sends what it returns; unlike its base it never leaves a client without end.
    """

    def __init__(self, app: WSGIApplication, pool: Executor, connections: Connections) -> None:
        super().__init__(cast(Any, app), pool)
        self._connections = connections

    async def handle_request(self, request: HTTPServerRequest) -> None:
        connection = cast(HTTP1Connection, request.connection)
        self._connections.serve(connection.stream)
        try:
            reply = await asyncio.get_running_loop().run_in_executor(
                self.executor, _call, self.wsgi_application, self.environ(request)
            )
            await _send(connection, reply)
        except (StreamClosedError, TimeoutError):
            connection.close()  # the client is gone, or does not take the answer
        except Exception:  # a bug of ours ends one connection, not the server
            log.exception("no answer to %s %s", request.method, request.path)
            connection.close()

    def environ(self, request: HTTPServerRequest) -> dict[str, Any]:
        name, _, port = request.host.partition(":")
        if not port.isdecimal() and "[" not in name:
            request.host = name  # the base fails on "name:" (which is legal) and on "name:word"
        environ = super().environ(request)
        note(environ, cast(Any, request.connection).context.address)
        return environ


def _call(app: Callable[..., Any], environ: dict[str, Any]) -> _Reply:
    started: list[Any] = []

    def start_response(*arguments: Any) -> Callable[[bytes], object]:
        started[:] = arguments
        return started.append  # the old way of writing, which nothing here uses

    chunks = app(environ, start_response)
    try:
        body = b"".join(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    return _Reply(started[0], started[1], body)


async def _send(connection: HTTP1Connection, reply: _Reply) -> None:
    code, _, reason = reply.status.partition(" ")
    headers = HTTPHeaders()
    for name, value in reply.headers:
        headers.add(name, value)
    line = ResponseStartLine("HTTP/1.1", int(code), reason)
    async with asyncio.timeout(DEADLINE):
        await connection.write_headers(line, headers, reply.body[:_PIECE])
    for place in range(_PIECE, len(reply.body), _PIECE):
        async with asyncio.timeout(DEADLINE):
            await connection.write(reply.body[place : place + _PIECE])
    connection.finish()
