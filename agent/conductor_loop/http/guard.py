"""
What every request and every answer goes through: a check of who asks, the security headers, the last resort.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from conductor_loop.http.answer import Answer, error

log = logging.getLogger(__name__)

#: Of every answer that does not say otherwise.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """
    A WSGI application around another one.

    Args:
        app: what answers requests that pass.
        refuse: returns the refusal of a request that must not pass.
    """

    def __init__(self, app: WSGIApplication, *, refuse: Callable[[WSGIEnvironment], Answer | None]) -> None:
        self._app = app
        self._refuse = refuse

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
        ) -> Callable[[bytes], object]:
            return start_response(status, [*(HEADERS | dict(headers)).items()], exc_info)

        refusal = self._refuse(environ)
        if refusal is not None:
            return _send(refusal, environ, start)
        if not _is_text(environ["PATH_INFO"]):
            return _send(error(404, "no such page: this is not UTF-8"), environ, start)
        try:
            return self._app(environ, start)
        except Exception:  # the boundary of a request: its client gets no traceback, the log does
            log.exception("%s %s failed", environ["REQUEST_METHOD"], environ["PATH_INFO"])
            return _send(error(500, "internal error; the agent's log has the details"), environ, start)


class HostCheck:
    """
    Refuses requests that were meant for somebody else.

    A stranger's page can make its own name point to a loopback address and then read from there under that name
    (DNS rebinding). It cannot make a browser send an address, or no name at all.

    Args:
        hosts: names to answer to, besides IP addresses, localhost and the machine's own name.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        self._hosts = {_bare(host) for host in (*hosts, "localhost", socket.gethostname())}

    def __call__(self, environ: WSGIEnvironment) -> Answer | None:
        host = environ.get("HTTP_HOST", "")
        name = _bare(host)
        if not name or name in self._hosts or _is_address(name):
            return None
        return _wrong_host(host)


def _bare(host: str) -> str:
    """
    Return a host without port, brackets and trailing dot, in lower case.
    """
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    if name.count(":") == 1:
        name = name.partition(":")[0]
    return name.removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_text(path: str) -> bool:
    """
    Tell whether a path is UTF-8; of one that is not, bottle would leave bytes out and find another page.

    Args:
        path: its bytes as Latin-1, as WSGI has it.
    """
    try:
        path.encode("latin-1").decode()
    except UnicodeDecodeError:
        return False
    return True


def _wrong_host(host: str) -> Answer:
    return error(
        403,
        f"this agent does not answer to the name {_bare(host)!r}; ask it by IP address or as localhost, "
        "or add the name to http.allowed_hosts",
    )


def _send(answer: Answer, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    start(answer.status_line, [*answer.headers.items(), ("Content-Length", str(len(answer.body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]
