"""
Who is at the other end of a unix socket: the kernel says it, so that nobody needs a password.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from conductor_loop.host.process import command_name
from conductor_loop.http.answer import Answer, error

_KEY = "conductor_loop.peer"  #: in the environment of a request; no header of a client's can have this name
_SO_PEERGROUPS = 59
_FEW = 64  #: groups; most have fewer
_CREDENTIALS = struct.Struct("iII")

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Peer:
    """
    A process, as it was when it connected.
    """

    pid: int
    uid: int
    gid: int
    admitted: bool  #: whether it may ask here

    def __str__(self) -> str:
        return f"uid {self.uid}, pid {self.pid} ({command_name(self.pid)})"

    @property
    def user(self) -> str:
        """
        The name of its user.
        """
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"uid {self.uid}"


def peer_of(connection: socket.socket, group: int) -> Peer:
    """
    Return who connected: root, our own user and the members of a group are admitted.

    Args:
        connection: of a unix socket.
        group: the number of the group.

    Raises:
        OSError: if the kernel does not say.
    """
    pid, uid, gid = credentials(connection)
    admitted = uid in {0, os.geteuid()} or gid == group or group in _groups(connection)
    return Peer(pid, uid, gid, admitted)


def credentials(connection: socket.socket) -> tuple[int, int, int]:
    """
    Return pid, uid and gid of the other end.
    """
    return _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )


def note(environ: WSGIEnvironment, peer: object) -> None:
    """
    Say in a request's environment who asks, where that is known.
    """
    if isinstance(peer, Peer):
        environ[_KEY] = peer


def asking(environ: WSGIEnvironment) -> Peer:
    """
    Return who asks; only for requests that `refuse_strangers` has let through.
    """
    peer = environ[_KEY]
    assert isinstance(peer, Peer)  # noqa: S101 - `note` is the only one that writes it
    return peer


def refuse_strangers(environ: WSGIEnvironment) -> Answer | None:
    """
    Return the refusal for whoever may not ask, or of whom it is not known.
    """
    peer = environ.get(_KEY)
    if isinstance(peer, Peer) and peer.admitted:
        return None
    who = f"uid {peer.uid}" if isinstance(peer, Peer) else "a client without credentials"
    return error(
        403,
        f"{who} may not ask here; root, the agent's own user and the members of the socket's group may",
        kind="permission",
        exit_code=77,
    )


def as_ourselves(app: WSGIApplication) -> WSGIApplication:
    """
    Return an application that takes every request for one of this process, for calls without a connection.
    """
    peer = Peer(os.getpid(), os.geteuid(), os.getegid(), admitted=True)

    def ask(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        note(environ, peer)
        return app(environ, start_response)

    return ask


def _groups(connection: socket.socket) -> frozenset[int]:
    # Not by `getsockopt` of Python, which takes 256 at most; who is in more groups is told how many.
    size = ctypes.c_uint32(_FEW * ctypes.sizeof(ctypes.c_uint32))
    while True:
        groups = (ctypes.c_uint32 * (size.value // ctypes.sizeof(ctypes.c_uint32)))()
        if not _libc.getsockopt(
            connection.fileno(), socket.SOL_SOCKET, _SO_PEERGROUPS, groups, ctypes.byref(size)
        ):
            return frozenset(groups[: size.value // ctypes.sizeof(ctypes.c_uint32)])
        number = ctypes.get_errno()
        if number != errno.ERANGE:
            raise OSError(number, os.strerror(number))
