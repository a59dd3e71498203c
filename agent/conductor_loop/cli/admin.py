"""
Requests of the administration: to the agent if one runs, else to the same application in this process.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from conductor_loop.cli.session import Session
from conductor_loop.errors import (
    BusyError,
    CommandAtWorkError,
    ConductorError,
    ConfigError,
    ConflictError,
    NotFoundError,
    OwnedError,
    PausedError,
    PermissionDeniedError,
    StoreError,
    UnreachableError,
    UsageError,
)

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from conductor_loop.app.offline import Offline
    from conductor_loop.cli.door import Door

LONG_SECONDS = 1.0  #: a rest in which others need not wait for us; to begin anew takes a tenth of that
TURN_SECONDS = 5.0  #: after which it is the turn of others, who give up after twice that
_GAP_SECONDS = 0.2  #: in which they notice


class Admin:
    """
    Who is asked.

    Args:
        door: of the agent.
        alone: answers while no agent runs; None if one does.
    """

    def __init__(self, door: Door, alone: Offline | None = None) -> None:
        self._door = door
        self._alone = alone
        self._turn_ends_at = time.monotonic() + TURN_SECONDS

    @property
    def door(self) -> Door | None:
        """
        That of the agent that is asked; None while none runs and this process answers.
        """
        return self._door if self._alone is None else None

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """
        Return a document; parts of the query that are None are left out.

        Raises:
            ConductorError: what the agent says is wrong, with its exit code.
            UnreachableError: if it does not answer any more.
        """
        from urllib.parse import urlencode  # noqa: PLC0415 - as in `connect`

        given = {name: value for name, value in query.items() if value is not None}
        return _document(self._send("GET", path, urlencode(given), b""))

    def post(self, path: str, **body: object) -> dict[str, Any]:
        """
        Have something done; return what came of it.

        Raises:
            ConductorError: what the agent says is wrong, with its exit code.
            UnreachableError: if it does not answer any more; then it is not known whether it was done.
        """
        raw = json.dumps(body).encode()
        try:
            return _document(self._send("POST", path, "", raw))
        except OwnedError:
            if not self._agent_has_come():
                raise
            return _document(self._send("POST", path, "", raw))

    def rest(self, seconds: float) -> None:
        """
        Wait before the next request; others may use the directories meanwhile if that is long, or we had them for long.
        """
        if self._alone is not None and (seconds >= LONG_SECONDS or time.monotonic() >= self._turn_ends_at):
            self._alone.give_back()
            seconds = max(seconds, _GAP_SECONDS)
            self._turn_ends_at = time.monotonic() + seconds + TURN_SECONDS
        threading.Event().wait(seconds)

    def _send(self, method: str, path: str, query: str, body: bytes) -> bytes:
        if self._alone is None:
            return self._door.request(method, path, query, body)
        return _call(self._alone.app, method, path, query, body)

    def _agent_has_come(self) -> bool:
        """
        Tell whether an agent runs since a moment ago; it is the one that is asked then.
        """
        connection = None if self._alone is None else self._door.knock()
        if connection is None:
            return False
        connection.close()
        self._alone = None
        return True


@contextmanager
def connect(session: Session, *, needed: str = "") -> Iterator[Admin]:
    """
    Give somebody to ask: the running agent or, while none runs, this process with the agent's own parts.

    Args:
        needed: why only an agent will do, if so.

    Raises:
        UnreachableError: if one runs and does not answer, or is needed and does not run.
        PermissionDeniedError: if we may not ask it.
        ConfigError: if the configuration is bad, and no agent answers.
    """
    # They bring the configuration, which help and completion do not need.
    from conductor_loop.cli.door import Door  # noqa: PLC0415
    from conductor_loop.cli.target import find_target  # noqa: PLC0415

    target = find_target(session)
    door = Door.of(target.config)
    connection = door.knock()
    if connection is not None:
        connection.close()
        yield Admin(door)
        return
    if target.error is not None:
        raise target.error
    if needed:
        raise UnreachableError(nobody_answers(str(door.path), hint=needed))
    # Brings every library of the agent.
    from conductor_loop.app.offline import offline  # noqa: PLC0415

    with _only_errors(), offline(target.config) as alone:
        yield Admin(door, alone)


def nobody_answers(*places: str, hint: str) -> str:
    """
    Return the words for no agent, the same for all commands.

    Args:
        places: that were asked.
        hint: what to do.
    """
    return f"no agent runs (nobody answers at {' or '.join(places)}); {hint}"


@contextmanager
def _only_errors() -> Iterator[None]:
    """
    Keep what an agent would log to itself: a command says what it did in its own words.
    """
    import logging  # noqa: PLC0415 - as in `connect`

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
        CommandAtWorkError,
        ConfigError,
        ConflictError,
        NotFoundError,
        OwnedError,
        PausedError,
        PermissionDeniedError,
        StoreError,
        UnreachableError,
        UsageError,
    )
}
