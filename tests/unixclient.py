"""
HTTP over a unix socket, by this process or by one of another user.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from surroundings import need_root

_AS_OTHER = """
import socket, sys
client = socket.socket(socket.AF_UNIX)
try:
    client.connect(sys.argv[1])
    client.sendall(sys.argv[2].encode())
    print(b"".join(iter(lambda: client.recv(65536), b"")).decode())
except PermissionError:
    print("refused by the file system")
"""


class UnixConnection(http.client.HTTPConnection):
    """
    A connection to a unix socket.
    """

    def __init__(self, path: Path, timeout: float = 10.0) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = connect(self._path, self.timeout or 10.0)


def connect(path: Path, timeout: float = 10.0) -> socket.socket:
    """
    Return a connected socket.
    """
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(timeout)
    try:
        client.connect(str(path))
    except OSError:
        client.close()
        raise
    return client


def ask(path: Path, target: str, *, method: str = "GET", body: Any = None) -> tuple[int, Any]:
    """
    Send one request; return status and document.
    """
    with closing(UnixConnection(path)) as connection:
        connection.request(method, target, None if body is None else json.dumps(body))
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())


def ask_as(path: Path, request: str, *, uid: int, gid: int, groups: tuple[int, ...] = ()) -> str:
    """
    Have another user send a request; return all that comes back.
    """
    need_root()
    more = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    done = subprocess.run(
        ["setpriv", f"--reuid={uid}", f"--regid={gid}", more, sys.executable, "-c", _AS_OTHER, path, request],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    return done.stdout
