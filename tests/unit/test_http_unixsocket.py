"""
The place of the admin socket: what it takes, what it leaves alone, and whom it lets in.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from conductor_loop.config import LONGEST_SOCKET_PATH
from conductor_loop.host.process import command_name
from conductor_loop.http.listener import ListenError
from conductor_loop.http.peer import Peer
from conductor_loop.http.unixsocket import UnixListener
from surroundings import NOBODY, need_root
from unixclient import connect

_HOLD = """
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print("listening", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path() -> Iterator[Path]:
    """
    Give a path that is short enough, wherever tests keep their directories.
    """
    directory = Path(tempfile.mkdtemp(prefix="conductor-loop-test-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory / "admin.sock"
    shutil.rmtree(directory)


@contextmanager
def bound(path: Path) -> Iterator[UnixListener]:
    listener = UnixListener(path)
    with closing(listener.bind()):
        yield listener
        listener.release()


@contextmanager
def held_by_another(path: Path) -> Iterator[subprocess.Popen[str]]:
    """
    Have another process listen there.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "listening\n"
        yield holder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_owner_and_group_may_connect_whatever_the_umask(path: Path, umask: int) -> None:
    """
    And nobody else.
    """
    before = os.umask(umask)
    try:
        with bound(path) as listener:
            assert mode(path) == 0o660
            assert listener.intact
            connect(path).close()
    finally:
        os.umask(before)


def test_a_socket_is_never_open_to_others_not_even_for_a_moment(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The process's umask, which other threads make files by, is left alone as well.
    """
    modes = []
    listen = socket.socket.listen

    def look(self: socket.socket, backlog: int) -> None:
        modes.append(mode(path))
        listen(self, backlog)

    monkeypatch.setattr(socket.socket, "listen", look)
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("umask was changed"))
    with bound(path):
        pass

    assert [found & 0o117 for found in modes] == [0]


def test_the_directory_is_made_and_those_above_it_are_not(path: Path) -> None:
    """
    For owner and group.
    """
    with bound(path.parent / "run" / "admin.sock") as listener:
        assert mode(path.parent / "run") & 0o7027 == 0
        assert listener.intact

    with pytest.raises(ListenError, match=r"nowhere/run/admin.sock: No such file.*directory must exist"):
        UnixListener(path.parent / "nowhere" / "run" / "admin.sock").bind()


def test_a_path_that_is_too_long_is_named_with_the_limit(path: Path) -> None:
    """
    In bytes, as the kernel counts; the longest one works.
    """
    longest = path.parent / ("é" * ((LONGEST_SOCKET_PATH - len(str(path.parent)) - 1) // 2))
    with pytest.raises(
        ListenError, match=rf"10[89] bytes are too long.*{LONGEST_SOCKET_PATH}.*\[admin\] socket"
    ):
        UnixListener(longest.with_name(longest.name + "é")).bind()
    with bound(longest):
        connect(longest).close()


def test_what_is_left_of_a_dead_agent_is_removed(path: Path) -> None:
    """
    Nobody answers there any more.
    """
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.exists()

    with bound(path):
        connect(path).close()


def test_a_socket_in_use_is_not_stolen(path: Path) -> None:
    """
    Whose it is, is said.
    """
    with held_by_another(path) as holder:
        before = path.stat().st_ino
        with pytest.raises(ListenError, match=rf"taken by pid {holder.pid} \(.*\[admin\] socket"):
            UnixListener(path).bind()

        assert path.stat().st_ino == before
        connect(path).close()


def test_a_socket_whose_owner_is_too_busy_to_answer_is_not_stolen(path: Path) -> None:
    """
    With a full queue the kernel lets nobody wait.
    """
    with socket.socket(socket.AF_UNIX) as busy, ExitStack() as stack:
        busy.bind(str(path))
        busy.listen(0)
        stack.callback(connect(path).close)
        with pytest.raises(ListenError, match="taken by another process"):
            UnixListener(path).bind()

        assert path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link", "fifo", "datagram"])
def test_anything_else_is_left_alone(path: Path, kind: str) -> None:
    """
    Also a link to a socket that is dead, and a living socket of another type.
    """
    with ExitStack() as stack:
        if kind == "file":
            path.write_text("precious")
        elif kind == "directory":
            path.mkdir()
        elif kind == "link":
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(f"{path}.dead")
            path.symlink_to(f"{path}.dead")
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)).bind(str(path))
        before = path.lstat()
        with pytest.raises(ListenError, match=r"taken by another" if kind == "datagram" else "no socket"):
            UnixListener(path).bind()

        assert os.path.samestat(before, path.lstat())


def test_two_agents_at_once_get_one_socket(path: Path) -> None:
    """
    While one looks whether anybody answers, the other one waits for its next try.
    """
    fd = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(ListenError, match="locked by another process"):
            UnixListener(path).bind()
    finally:
        os.close(fd)
    with bound(path):
        pass


def test_only_the_own_socket_is_removed_at_the_end(path: Path) -> None:
    """
    What lies under its name by now may be somebody else's.
    """
    listener = UnixListener(path)
    with closing(listener.bind()):
        path.unlink()
        assert not listener.intact
        with held_by_another(path):
            listener.release()
            connect(path).close()
    path.unlink()
    listener.release()  # nothing there: nothing happens


def test_a_failed_bind_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Neither a file nor a descriptor.
    """

    def fail(self: socket.socket, backlog: int) -> None:
        raise OSError(105, "No buffer space available")

    monkeypatch.setattr(socket.socket, "listen", fail)
    with pytest.raises(ListenError, match="No buffer space"):
        UnixListener(path).bind()

    assert list(path.parent.iterdir()) == []


@contextmanager
def accepted(path: Path) -> Iterator[Peer]:
    """
    Connect from here; the value is who that was for the listener.
    """
    listener = UnixListener(path)
    with closing(listener.bind()) as server, connect(path):
        connection, _ = server.accept()
        with connection:
            yield listener.identify(connection)
    listener.release()


def test_our_own_user_is_admitted(path: Path) -> None:
    """
    The kernel says who it is.
    """
    with accepted(path) as peer:
        assert peer == Peer(os.getpid(), os.geteuid(), os.getegid(), admitted=True)
        assert str(peer) == f"uid {os.geteuid()}, pid {os.getpid()} ({command_name(os.getpid())})"


_REPORT = """
import socket, sys
client = socket.socket(socket.AF_UNIX)
try:
    client.connect(sys.argv[1])
except PermissionError:
    print("no permission", flush=True)
else:
    print("connected", flush=True)
    sys.stdin.read()
"""


def judged(path: Path, server: socket.socket, listener: UnixListener, *options: str) -> bool | None:
    """
    Return whether somebody with these options of setpriv is admitted; None if the file system forbids it already.
    """
    with subprocess.Popen(
        ["setpriv", *options, sys.executable, "-c", _REPORT, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stdout is not None
        if client.stdout.readline() != "connected\n":
            return None
        server.setblocking(True)
        connection, _ = server.accept()
        with connection:
            peer = listener.identify(connection)
        assert peer.pid == client.pid
    return peer.admitted


@pytest.mark.root
def test_root_and_members_of_the_group_are_admitted_and_nobody_else(path: Path) -> None:
    """
    The group is the one that the socket has now; a member by a further group counts, also one of very many.
    """
    need_root()
    group = 54321
    many = ",".join(str(number) for number in (*range(60000, 60400), group))
    nobody = (f"--reuid={NOBODY}", f"--regid={NOBODY}")
    listener = UnixListener(path)
    with closing(listener.bind()) as server:
        assert judged(path, server, listener, "--clear-groups") is True
        assert judged(path, server, listener, *nobody, "--clear-groups") is None
        os.chown(path, -1, group)
        assert judged(path, server, listener, *nobody, "--clear-groups") is None
        assert judged(path, server, listener, *nobody, f"--groups={group}") is True
        assert judged(path, server, listener, *nobody, f"--groups={many}") is True
        assert judged(path, server, listener, nobody[0], f"--regid={group}", "--clear-groups") is True
        path.chmod(0o666)  # by somebody who means too well
        assert judged(path, server, listener, *nobody, "--clear-groups") is False
        assert judged(path, server, listener, *nobody, "--groups=54320,54322") is False
    listener.release()


@pytest.mark.root
def test_a_dead_socket_that_may_not_be_removed_is_named_with_its_owner(path: Path) -> None:
    """
    Also one that is alive and does not let us ask.
    """
    need_root()
    path.parent.chmod(0o1777)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        path.chmod(0o600)
        assert "taken by another process (Permission denied)" in bind_as_nobody(path)
        path.chmod(0o666)
    assert "left behind by uid 0" in bind_as_nobody(path)
    assert path.exists()
    path.unlink()
    path.parent.chmod(0o755)
    assert "Permission denied; its directory must exist" in bind_as_nobody(path)


_BIND = """
import sys
from pathlib import Path
from conductor_loop.http.listener import ListenError
from conductor_loop.http.unixsocket import UnixListener
try:
    UnixListener(Path(sys.argv[1])).bind()
except ListenError as error:
    print(error)
"""


def bind_as_nobody(path: Path) -> str:
    """
    Return why a user who owns nothing cannot listen there.
    """
    return subprocess.run(
        [
            "setpriv",
            f"--reuid={NOBODY}",
            f"--regid={NOBODY}",
            "--clear-groups",
            sys.executable,
            "-c",
            _BIND,
            path,
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
