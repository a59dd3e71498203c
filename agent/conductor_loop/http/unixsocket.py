"""
A unix socket that takes nothing away from anybody, and is never open to more than it should be.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from conductor_loop.config import LONGEST_SOCKET_PATH
from conductor_loop.host.process import command_name
from conductor_loop.http.listener import BACKLOG, ListenError
from conductor_loop.http.peer import Peer, credentials, peer_of
from conductor_loop.model import display_name

_MODE = 0o660
_DIRECTORY_MODE = 0o750


class UnixListener:
    """
    A unix socket of mode 0660.

    Args:
        path: of the socket; its directory is made if the one above is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shown = display_name(str(path))
        # Device and inode of our socket; as long as one listens, the number is not given to another file.
        self._made: tuple[int, int] | None = None
        self._group = os.getegid()
        self.where = f"unix socket {self._shown}"

    @property
    def intact(self) -> bool:
        found = _look(self._path)
        return found is not None and self._is_ours(found)

    def bind(self) -> socket.socket:
        try:
            return self._bind()
        except OSError as error:
            raise ListenError(
                f"cannot listen on {self._shown}: {os.strerror(error.errno or 0)}; "
                "its directory must exist and the agent's user must be allowed to write in it"
            ) from error

    def identify(self, connection: socket.socket) -> Peer:
        found = _look(self._path)
        if found is not None and self._is_ours(found):
            self._group = found.st_gid  # an administrator may have given it to another one
        return peer_of(connection, self._group)

    def release(self) -> None:
        if self.intact:
            with suppress(OSError):  # then the next start finds that nobody answers
                self._path.unlink()
        self._made = None

    def _is_ours(self, found: os.stat_result) -> bool:
        return (found.st_dev, found.st_ino) == self._made

    def _bind(self) -> socket.socket:
        length = len(os.fsencode(self._path))
        if length > LONGEST_SOCKET_PATH:
            raise ListenError(
                f"{self._shown}: {length} bytes are too long for a unix socket, which takes {LONGEST_SOCKET_PATH}; "
                "set [admin] socket to a shorter path"
            )
        if not self._path.parent.is_dir():
            self._path.parent.mkdir(_DIRECTORY_MODE)
        with _alone_in(self._path.parent):
            self._clear()
            return self._make()

    def _clear(self) -> None:
        """
        Remove a socket that nobody answers at; anything else stays.
        """
        found = _look(self._path)
        if found is None:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise ListenError(
                f"{self._shown}: this is no socket, so it is left alone; move it away, or set [admin] socket"
            )
        answering = _who_answers(self._path)
        if answering is not None:
            raise ListenError(
                f"{self._shown}: taken by {answering}; stop that, or set [admin] socket to another path"
            )
        try:
            self._path.unlink()
        except PermissionError as error:
            raise ListenError(
                f"{self._shown}: left behind by uid {found.st_uid}, and not ours to remove; remove it, or set [admin] socket"
            ) from error

    def _make(self) -> socket.socket:
        with ExitStack() as stack:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            # The kernel takes the mode over from here, less the umask: so at no moment may anybody else connect. The
            # umask itself cannot be changed, for other threads make files meanwhile.
            os.fchmod(listener.fileno(), _MODE)
            listener.bind(os.fsencode(self._path))
            stack.callback(self.release)
            made = os.lstat(self._path)
            self._made, self._group = (made.st_dev, made.st_ino), made.st_gid
            listener.listen(BACKLOG)
            _give_mode(self._path)
            listener.setblocking(False)
            stack.pop_all()
        return listener


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """
    Keep other agents from doing the same: both would find nobody answering, and the second remove the first's socket.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ListenError(f"{display_name(str(directory))} is locked by another process") from error
        yield
    finally:
        os.close(fd)


def _look(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _who_answers(path: Path) -> str | None:
    """
    Return "pid 123 (nginx)" for the process that listens on a socket; None if nobody does.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(os.fsencode(path))
        except ConnectionRefusedError:
            return None
        except OSError as error:  # its backlog is full, it is of another type, or not for us
            return f"another process ({os.strerror(error.errno or 0)})"
        pid = credentials(client)[0]
        return f"pid {pid} ({command_name(pid)})"


def _give_mode(path: Path) -> None:
    # By a descriptor that never follows a link: where others may write too, the name may be theirs by now.
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.chmod(f"/proc/self/fd/{fd}", _MODE)
    finally:
        os.close(fd)
