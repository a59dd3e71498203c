"""
Checks of where the agent answers: its port and its admin socket.
"""

from __future__ import annotations

import ipaddress
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from conductor_loop.app.doctor.findings import (
    Check,
    Subject,
    as_agent_user,
    failed,
    ok,
    skipped,
    standing,
    warning,
)
from conductor_loop.config import LONGEST_SOCKET_PATH, admin_socket
from conductor_loop.model import display_name

_LISTENS = "0A"  #: the state of a socket in the kernel's tables
_ORDER = sys.byteorder
_WILDCARDS = {"0.0.0.0", "::"}  # noqa: S104 - compared with, not listened on


def check_port(subject: Subject) -> Iterator[Check]:
    """
    Look whether the port of the metrics is free, or ours.
    """
    http = subject.config.http
    where = f"{http.metrics_host}:{http.metrics_port}"
    if http.metrics_port == 0:
        yield ok("port", "http.metrics_port is 0: no metrics over HTTP")
    elif (
        subject.answers is not None
        and subject.answers.health.get("components", {}).get("metrics") == "healthy"
    ):
        yield ok("port", f"{where}: the agent listens there")
    elif not _taken(http.metrics_host, http.metrics_port):
        yield ok("port", f"{where}: is free")
    elif subject.running and subject.answers is None:
        yield ok("port", f"{where}: taken, by the agent it seems")
    else:
        yield failed(
            "port",
            f"{where}: is taken by another program; files go on, but nobody gets metrics",
            "stop that (ss -ltnp), or set http.metrics_port to another port",
        )


def check_socket(subject: Subject) -> Iterator[Check]:
    """
    Look whether the admin socket can be made, or used.
    """
    path = admin_socket(subject.config)
    length = len(os.fsencode(path))
    if length > LONGEST_SOCKET_PATH:
        words = f"{_shown(path)}: {length} bytes are too long for a unix socket, which takes {LONGEST_SOCKET_PATH}"
        yield failed("admin_socket", words, "set [admin] socket to a shorter path, such as one in /run")
    elif subject.answers is not None and subject.answers.by_socket:
        yield ok("admin_socket", f"{_shown(path)}: the agent answers there")
    elif subject.running and subject.shut_out:
        yield skipped(
            "admin_socket", f"{_shown(path)}: this user may not ask there", as_agent_user(subject.user)
        )
    elif subject.running:
        yield warning(
            "admin_socket",
            f"{_shown(path)}: an agent runs and does not answer there; commands cannot reach it",
            "is [admin] socket the same as when it was started? Look into its log, or restart it",
        )
    else:
        yield _check_place(subject, path)


def _check_place(subject: Subject, path: Path) -> Check:
    if os.path.lexists(path) and not stat.S_ISSOCK(path.lstat().st_mode):
        return failed(
            "admin_socket",
            f"{_shown(path)}: is no socket",
            "move it away, or set [admin] socket to another path",
        )
    above = standing(path.parent)
    if not subject.user.may(above, os.W_OK | os.X_OK):
        words = f"{_shown(path)}: {subject.user.name} may not make it in {_shown(above)}"
        return failed("admin_socket", words, "give that directory to the agent's user, or set [admin] socket")
    return ok("admin_socket", f"{_shown(path)}: can be made")


def _taken(host: str, port: int) -> bool:
    """
    Tell by the kernel's tables whether somebody listens on a port; connecting would disturb who does.
    """
    wanted = _addresses(host)
    return any(
        found_port == port and (address in wanted or address in _WILDCARDS or wanted & _WILDCARDS)
        for address, found_port in _listeners()
    )


def _addresses(host: str) -> set[str]:
    try:
        return {str(ipaddress.ip_address(host))}
    except ValueError:  # a name; which addresses it has is a matter of the network
        return {"127.0.0.1", "::1"} if host == "localhost" else set(_WILDCARDS)


def _listeners() -> Iterator[tuple[str, int]]:
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        except OSError:  # no IPv6, mostly
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTENS:
                address, port = fields[1].split(":")
                yield _address(address), int(port, 16)


def _address(text: str) -> str:
    # Words of 32 bits, each in the byte order of this machine.
    words = (int(text[start : start + 8], 16) for start in range(0, len(text), 8))
    address = ipaddress.ip_address(b"".join(word.to_bytes(4, _ORDER) for word in words))
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _shown(path: Path) -> str:
    return display_name(str(path))
