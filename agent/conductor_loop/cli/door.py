"""
The admin socket of a running agent: whether one answers there, and whether it is one to talk to.
"""

from __future__ import annotations

import errno
import grp
import os
import socket
import struct
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from conductor_loop.config import LONGEST_SOCKET_PATH, Config, admin_socket
from conductor_loop.errors import PermissionDeniedError, UnreachableError
from conductor_loop.ledger.locks import agent_at

ANSWER_SECONDS = 30.0  # the agent itself gives up after less, and says so
LARGEST_ANSWER = 64 << 20  # bytes; a hundred files with all their outputs have less
PATIENCE_SECONDS = 3.0  # for an agent that is starting or stopping
_LOOK_SECONDS = 0.1

# Nobody listens there: no file, no socket, or a socket that was left over.
_NOBODY = (FileNotFoundError, ConnectionRefusedError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class Door:
    """
    Where the agent of one configuration is spoken to.
    """

    path: Path
    state_dir: Path
    answer_seconds: float = ANSWER_SECONDS

    @classmethod
    def of(cls, config: Config, answer_seconds: float = ANSWER_SECONDS) -> Door:
        """
        Return that of the agent with this configuration.
        """
        return cls(admin_socket(config), config.agent.state_dir, answer_seconds)

    def knock(self) -> socket.socket | None:
        """
        Return a connection to the agent; None if no agent runs.

        Raises:
            UnreachableError: if an agent runs and does not answer.
            PermissionDeniedError: if we may not, or if somebody else answers.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (connection := self.open()) is None and self.held():
            if time.monotonic() > deadline:
                raise UnreachableError(self._silence())
            threading.Event().wait(_LOOK_SECONDS)
        return connection

    def answers(self) -> bool:
        """
        Tell whether an agent takes connections.
        """
        connection = self.open()
        if connection is not None:
            connection.close()
        return connection is not None

    def open(self) -> socket.socket | None:
        """
        Return a connection; None if nobody listens.

        Raises:
            UnreachableError: if who listens does not take the connection.
            PermissionDeniedError: if we may not, or if it is somebody else's.
        """
        if len(os.fsencode(self.path)) > LONGEST_SOCKET_PATH:
            return None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # With a timeout of Python's, a full queue is an error at once instead of a wait.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(self.answer_seconds))
            connection.connect(os.fspath(self.path))
            self._check_owner(connection)
        except _NOBODY:
            connection.close()
            return None
        except OSError as error:
            connection.close()
            raise self._refusal(error) from error
        except PermissionDeniedError:
            connection.close()
            raise
        connection.settimeout(self.answer_seconds)
        return connection

    def process(self) -> int | None:
        """
        Return a pidfd of the agent's process; None if nobody listens, or in another container.

        Raises:
            UnreachableError, PermissionDeniedError: as `open`.
        """
        connection = self.open()
        if connection is None:
            return None
        with connection:
            pid = _peer(connection)[0]
        try:
            return os.pidfd_open(pid)
        except OSError:
            return None

    def request(self, method: str, path: str, query: str = "", body: bytes = b"") -> bytes:
        """
        Return the body of the answer to one request.

        Raises:
            UnreachableError: if there is none; of a request to do something it is not known then whether it was done.
            PermissionDeniedError: if we may not, or if it is somebody else's.
        """
        import http.client  # noqa: PLC0415 - slow to import, and `--help` has no use for it

        opened = self.open()
        if opened is None:
            raise UnreachableError(f"no agent answers at {self.path}; is it running?")
        connection = http.client.HTTPConnection("localhost")
        connection.sock = opened
        target = f"{quote(path)}?{query}" if query else quote(path)
        with closing(connection):
            try:
                connection.request(method, target, body or None, {"Content-Type": "application/json"})
                return connection.getresponse().read(LARGEST_ANSWER)
            except (OSError, http.client.HTTPException) as error:
                raise UnreachableError(_broken_off(method, error)) from error

    def held(self) -> bool:
        """
        Tell whether an agent holds the state directory.
        """
        return agent_at(self.state_dir) is not None

    def _check_owner(self, connection: socket.socket) -> None:
        uid = _peer(connection)[1]
        if uid not in (0, os.geteuid(), self._owner()):
            raise PermissionDeniedError(
                f"{self.path} belongs to uid {uid}, who is neither root nor the owner of {self.state_dir}; "
                "nothing was sent there"
            )

    def _owner(self) -> int | None:
        try:
            return os.stat(self.state_dir).st_uid
        except OSError:
            return None

    def _refusal(self, error: OSError) -> PermissionDeniedError | UnreachableError:
        if error.errno in (errno.EACCES, errno.EPERM):
            return PermissionDeniedError(
                f"{self.path}: no permission; run as root, as the agent's user or as a member of {self._group()}"
            )
        return UnreachableError(f"{self.path}: the agent does not answer ({error.strerror})")

    def _group(self) -> str:
        try:
            return f"the group {grp.getgrgid(os.stat(self.path).st_gid).gr_name}"
        except (OSError, KeyError):
            return "its group"

    def _silence(self) -> str:
        hint = "is [admin] socket the same in the configuration that it was started with? If so, restart it"
        size = len(os.fsencode(self.path))
        if size > LONGEST_SOCKET_PATH:
            hint = (
                f"the path is {size} bytes long and a socket's may have {LONGEST_SOCKET_PATH}: set [admin] socket to a "
                "shorter one and restart the agent"
            )
        found = agent_at(self.state_dir)
        who = found.words if found else "a process that has just ended"
        return f"{self.state_dir} is in use by {who}, but nobody answers at {self.path}; {hint}"


def _peer(connection: socket.socket) -> tuple[int, int]:
    """
    Return pid and uid of who listens.
    """
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", raw)
    return pid, uid


def _broken_off(method: str, error: Exception) -> str:
    words = f"the agent broke off its answer ({str(error) or type(error).__name__})"
    if method == "GET":
        return f"{words}; ask again"
    return (
        f"{words}: it is not known whether this was done; once it runs again, `conductor-loop status` tells"
    )


def _timeval(seconds: float) -> bytes:
    return struct.pack("ll", int(seconds), round(seconds % 1 * 1_000_000))
