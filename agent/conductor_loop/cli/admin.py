"""
Requests of the administration: to the agent if one runs, else to the same application in this process.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from typing import Any
from urllib.parse import urlencode
from wsgiref.types import WSGIApplication

from conductor_loop.cli.door import Door
from conductor_loop.cli.session import Session
from conductor_loop.config import admin_socket
from conductor_loop.errors import (
    BusyError,
    ConductorError,
    ConfigError,
    ConflictError,
    NotFoundError,
    OwnedError,
    PermissionDeniedError,
    StoreError,
    UnreachableError,
    UsageError,
)

Send = Callable[[str, str, str, bytes], bytes]  #: method, path, query, body -> body of the answer


class Admin:
    """
    Who is asked.

    Args:
        send: carries one request.
        door: of the agent that is asked; None if none runs and this process answers.
    """

    def __init__(self, send: Send, door: Door | None) -> None:
        self._send = send
        self.door = door

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """
        Return a document; parts of the query that are None are left out.

        Raises:
            ConductorError: what the agent says is wrong, with its exit code.
            UnreachableError: if it does not answer any more.
        """
        given = {name: value for name, value in query.items() if value is not None}
        return _document(self._send("GET", path, urlencode(given), b""))

    def post(self, path: str, **body: object) -> dict[str, Any]:
        """
        Have something done; return what came of it.

        Raises:
            ConductorError: what the agent says is wrong, with its exit code.
            UnreachableError: if it does not answer any more; then it is not known whether it was done.
        """
        return _document(self._send("POST", path, "", json.dumps(body).encode()))


@contextmanager
def connect(session: Session, *, needed: str = "") -> Iterator[Admin]:
    """
    Give somebody to ask: the running agent or, while none runs, this process with the agent's own parts.

    Args:
        needed: why only an agent will do, if so.

    Raises:
        UnreachableError: if one runs and does not answer, or is needed and does not run.
        PermissionDeniedError: if we may not ask it.
        ConfigError: if the configuration is bad.
    """
    config = session.load().config
    door = Door(admin_socket(config), config.agent.state_dir)
    connection = door.knock()
    if connection is not None:
        connection.close()
        yield Admin(door.request, door)
        return
    if needed:
        raise UnreachableError(f"no agent runs (nobody answers at {door.path}); {needed}")
    # Brings every library of the agent.
    from conductor_loop.app.offline import offline  # noqa: PLC0415

    try:
        with _only_errors(), offline(config) as app:
            yield Admin(partial(_call, app), None)
    except OwnedError as error:  # one was started in this moment, or keeps its socket elsewhere
        raise UnreachableError(f"{error}; nobody answers at {door.path}") from error


@contextmanager
def _only_errors() -> Iterator[None]:
    """
    Keep what an agent would log to itself: a command says what it did in its own words.
    """
    package = logging.getLogger("conductor_loop")
    before = package.level
    package.setLevel(logging.ERROR)
    try:
        yield
    finally:
        package.setLevel(before)


def _call(app: WSGIApplication, method: str, path: str, query: str, body: bytes) -> bytes:
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "0",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    chunks = app(environ, lambda status, headers, exc_info=None, /: lambda data: None)
    try:
        return b"".join(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()


def _document(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise UnreachableError("who answers there is no agent; see [admin] socket in its configuration")
    if "error" in document:
        raise _error_of(document)
    return document


def _error_of(document: dict[str, Any]) -> ConductorError:
    """
    Return the error that the agent met, as the class that it was there.
    """
    error = _KINDS.get(str(document.get("kind")), ConductorError)(str(document["error"]))
    error.exit_code = int(document.get("exit_code", error.exit_code))
    return error


_KINDS: dict[str, type[ConductorError]] = {
    cls.kind: cls
    for cls in (
        BusyError,
        ConfigError,
        ConflictError,
        NotFoundError,
        OwnedError,
        PermissionDeniedError,
        StoreError,
        UnreachableError,
        UsageError,
    )
}
