"""
The admin socket of a running service, with clients of this process and of others.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import pwd
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

import pytest

import store_rows as rows
from administrations import MadeUpAdministration, Retried
from conductor_loop.errors import ConflictError
from conductor_loop.host.process import command_name
from conductor_loop.http import peer, wsgi
from conductor_loop.http.admin import make_admin_app
from conductor_loop.http.routes import make_app
from conductor_loop.http.server import ADMIN_HANDLERS, MAX_ADMIN_CONNECTIONS, AdminServer
from conductor_loop.metrics.live import Live
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.store.database import Store
from ledgers import paths_below
from surroundings import NOBODY
from unixclient import UnixConnection, ask, ask_as, connect
from waiting import wait_until

RETRY = 0.05  #: seconds between two looks at the socket


@dataclass
class House:
    """
    A served admin socket and what is behind it.
    """

    path: Path
    live: Live
    agent: MadeUpAdministration
    app: WSGIApplication

    @contextmanager
    def served(self, app: WSGIApplication | None = None, **options: Any) -> Iterator[AdminServer]:
        """
        Run the service, whether it gets its socket or not.
        """
        crashes: list[BaseException] = []
        given: dict[str, Any] = {"retry_seconds": RETRY} | options
        server = AdminServer(app or self.app, self.path, live=self.live, **given)
        server.start(lambda _, error: crashes.append(error))
        try:
            yield server
        finally:
            server.request_stop()
            assert server.join(Deadline.after(15))
            assert crashes == []

    @contextmanager
    def open(self, app: WSGIApplication | None = None, **options: Any) -> Iterator[AdminServer]:
        """
        Run the service until it answers.
        """
        with self.served(app, **options) as server:
            wait_until(lambda: server.listening)
            yield server

    @property
    def warning(self) -> str | None:
        return self.live.snapshot().warnings.get("admin")


@pytest.fixture
def house() -> Iterator[House]:
    """
    In a directory with a short name, for the path of a socket must be short.
    """
    root = Path(tempfile.mkdtemp(prefix="conductor-loop-test-", dir="/tmp"))
    root.chmod(0o755)
    (root / "state").mkdir()
    live = Live(max_workers=4, command_name="porch")
    live.phase("running")
    with closing(Store.open(root / "state", now=rows.NOW)) as store:
        agent = MadeUpAdministration(store)
        pages = make_app(snapshot=live.snapshot, version="1", config_hash=lambda: "abc")
        app = make_admin_app(administration=agent, paths=paths_below(root), pages=pages)
        yield House(root / "admin.sock", live, agent, app)
    shutil.rmtree(root)


def test_questions_and_changes_are_answered(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """
    Beside all pages of the other server; the log says which process asked.
    """
    house.agent.store.writer.commit(rows.whole_life(1))
    with caplog.at_level(logging.INFO), house.open():
        assert ask(house.path, "/api/v1/files?limit=1")[1]["files"][0]["name"] == "intent-1.json"
        assert ask(house.path, "/health/live") == (200, {"alive": True})
        assert ask(house.path, "/api/v1/pause", method="POST", body={"message": "x"})[0] == 200

    who = f"uid {os.geteuid()}, pid {os.getpid()} ({command_name(os.getpid())})"
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert f"pause (x ({user})): done; asked for by {who}" in caplog.text
    assert f"listening on unix socket {house.path}" in caplog.text


def test_a_client_cannot_say_that_it_is_somebody_else(house: House) -> None:
    """
    Headers end up under other names than the kernel's word.
    """
    seen: list[dict[str, Any]] = []

    def look(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        seen.append(environ)
        return house.app(environ, start_response)  # type: ignore[return-value]

    with house.open(look), closing(UnixConnection(house.path)) as client:
        client.request(
            "GET", "/health/live", headers={"conductor_loop.peer": "0", "Conductor-Loop-Peer": "0"}
        )
        assert client.getresponse().status == 200

    assert peer.asking(seen[0]).pid == os.getpid()
    assert seen[0]["HTTP_CONDUCTOR_LOOP_PEER"] == "0"


@pytest.mark.root
def test_other_users_are_refused_unless_they_are_in_the_group(house: House) -> None:
    """
    Even where somebody opened the socket for everyone.
    """
    request = "POST /api/v1/stop HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    with house.open():
        assert "refused by the file system" in ask_as(house.path, request, uid=NOBODY, gid=NOBODY)
        house.path.chmod(0o666)
        refused = ask_as(house.path, request, uid=NOBODY, gid=NOBODY)
        assert refused.startswith("HTTP/1.1 403 ")
        assert f"uid {NOBODY} may not ask here" in refused
        assert house.agent.asked == []
        os.chown(house.path, -1, 54321)
        assert ask_as(house.path, request, uid=NOBODY, gid=NOBODY, groups=(1, 54321)).startswith(
            "HTTP/1.1 200 "
        )
        assert house.agent.asked == [("stop",)]


def test_two_administrators_at_once_get_an_answer_each(house: House) -> None:
    """
    One wins, the other is told that it came too late.
    """
    lock = threading.Lock()
    together = threading.Barrier(2)
    retried: list[int] = []

    def retry(number: int, *, dry_run: bool) -> Retried:
        together.wait(5)
        with lock:
            if retried:
                raise ConflictError("retried already as x-99")
            retried.append(number)
            return Retried("x-99", number, "a.json", Path("/a.json"))

    house.agent.retry = retry  # type: ignore[assignment,method-assign]
    with house.open(), ThreadPoolExecutor(2) as pool:
        both = [pool.submit(ask, house.path, "/api/v1/files/7/retry", method="POST") for _ in range(2)]
        answers = sorted((one.result(10) for one in both), key=lambda answer: answer[0])

    assert [status for status, _ in answers] == [200, 409]
    assert answers[1][1] == {"error": "retried already as x-99", "kind": "conflict", "exit_code": 1}


def test_two_hundred_idle_connections_lock_nobody_out(house: House) -> None:
    """
    The quietest give way; a few administrators do not take the descriptors that files need.
    """
    with house.open(), ExitStack() as stack:
        for _ in range(200):
            client = stack.enter_context(connect(house.path))
            with suppress(ConnectionError):
                client.sendall(b"GET /api/v1/files HTTP/1.1\r\nHost: x\r\nX-Never: ")
        begun = time.monotonic()
        assert ask(house.path, "/api/v1/resume", method="POST")[0] == 200

        assert time.monotonic() - begun < 2
        wait_until(lambda: _sockets() <= 200 + MAX_ADMIN_CONNECTIONS + 5)


def _sockets() -> int:
    names = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    found = 0
    for name in names:
        with suppress(FileNotFoundError):
            found += os.readlink(name).startswith("socket:")
    return found


def slow(release: threading.Event, app: WSGIApplication) -> WSGIApplication:
    """
    Return an application that waits before it answers a POST.
    """

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            release.wait(10)
        return app(environ, start_response)

    return answer


def test_an_answer_that_waits_for_the_ledger_is_not_cut_off(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The deadline is for clients that are slow, not for us.
    """
    monkeypatch.setattr(wsgi, "DEADLINE", 0.2)
    release = threading.Event()
    with house.open(slow(release, house.app)), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, house.path, "/api/v1/drain", method="POST")
        release.wait(0.8)
        assert not waiting.done()
        release.set()
        assert waiting.result(5)[0] == 200


def test_an_agent_that_stops_gives_the_answer_it_is_about_to_give(house: House) -> None:
    """
    Whoever asked for the stop is told so, and so is whoever asked just before.
    """
    release = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with house.open(slow(release, house.app)) as server:
            waiting = pool.submit(ask, house.path, "/api/v1/stop", method="POST")
            wait_until(lambda: any(thread.name.startswith("admin_") for thread in threading.enumerate()))
            server.request_stop()
            wait_until(lambda: not house.path.exists())
            release.set()
            assert waiting.result(5) == (200, {"stopping": True})
        assert not server.alive


@pytest.mark.slow
def test_an_agent_that_stops_does_not_wait_for_ever_for_an_answer(house: House) -> None:
    """
    Its client sees the connection end without one.
    """
    release = threading.Event()
    with ExitStack() as stack:
        server = stack.enter_context(house.open(slow(release, house.app)))
        stack.callback(release.set)
        with closing(UnixConnection(house.path)) as client:
            client.request("POST", "/api/v1/stop")
            wait_until(lambda: any(thread.name.startswith("admin_") for thread in threading.enumerate()))
            server.request_stop()
            begun = time.monotonic()
            with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
                client.getresponse()
            assert 1.5 < time.monotonic() - begun < 4


def test_many_waiting_answers_leave_the_socket_open(house: House) -> None:
    """
    Those who come meanwhile get theirs as soon as one is done.
    """
    release = threading.Event()
    count = ADMIN_HANDLERS + 4
    with house.open(slow(release, house.app)), ThreadPoolExecutor(count) as pool:
        waiting = [pool.submit(ask, house.path, "/api/v1/resume", method="POST") for _ in range(count)]
        wait_until(lambda: _named("admin_") == ADMIN_HANDLERS)
        release.set()
        assert [one.result(10)[0] for one in waiting] == [200] * count


def _named(prefix: str) -> int:
    return sum(thread.name.startswith(prefix) for thread in threading.enumerate())


def test_a_socket_that_is_taken_is_tried_again(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """
    Meanwhile a warning names who has it, the status stays what it was, and the log says it once.
    """
    with ExitStack() as stack:
        other = stack.enter_context(socket.socket(socket.AF_UNIX))
        other.bind(str(house.path))
        other.listen()
        server = stack.enter_context(house.served())
        words = wait_until(lambda: house.warning)
        assert f"{house.path}: taken by pid {os.getpid()} (" in words
        assert "files go on, tried again every 0.05s" in words
        assert not server.listening
        other.close()
        wait_until(lambda: server.listening)

        assert house.warning is None
        assert ask(house.path, "/health/live")[0] == 200
    assert caplog.text.count("taken by") == 1


def test_a_socket_that_somebody_deletes_is_made_again(house: House) -> None:
    """
    Clients that are connected notice nothing; the directory may be gone as well.
    """
    with house.open(), closing(UnixConnection(house.path)) as early:
        early.request("GET", "/health/live")
        assert early.getresponse().read()
        house.path.unlink()
        wait_until(house.path.exists)
        assert ask(house.path, "/health/live")[0] == 200
        early.request("GET", "/health/live")
        assert json.loads(early.getresponse().read()) == {"alive": True}


def test_a_socket_that_is_moved_away_and_back_is_no_trouble(house: House) -> None:
    """
    It is still ours.
    """
    away = house.path.with_name("away")
    with house.open():
        house.path.rename(away)
        house.path.write_text("not a socket")
        wait_until(lambda: house.warning)
        house.path.unlink()
        away.rename(house.path)
        wait_until(lambda: house.warning is None)
        assert ask(house.path, "/health/live")[0] == 200
    assert not house.path.exists()


def test_the_socket_is_gone_after_the_end(house: House) -> None:
    """
    A client is then told that no agent runs, and the next agent finds a free place.
    """
    for _ in range(2):
        with house.open():
            assert house.path.exists()
        assert not house.path.exists()


def test_what_another_has_put_there_meanwhile_stays(house: House) -> None:
    """
    At the end as well.
    """
    with house.open(retry_seconds=60):
        house.path.unlink()
        house.path.write_text("mine")

    assert house.path.read_text() == "mine"


def test_a_stop_that_comes_early_is_not_lost(house: House) -> None:
    """
    Before the start, or while it goes on; no socket is left.
    """
    for _ in range(20):
        server = AdminServer(house.app, house.path, live=house.live)
        server.start(lambda *_: None)
        server.request_stop()
        assert server.join(Deadline.after(5))
        assert not house.path.exists()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /api/v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n", 400),
        (b"POST /api/v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\n{}x", 400),
        (b"GET /api/v1/files/%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        (b"GET /api/v1/files?name=%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        (b"\x00\x01\x02\r\n\r\n", 400),
        (
            b"POST /api/v1/resume HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            200,
        ),
    ],
)
def test_odd_requests_have_their_answer(house: House, request_bytes: bytes, status: int) -> None:
    """
    Nothing is done by halves.
    """
    with house.open(), connect(house.path) as client:
        client.sendall(request_bytes)
        reply = b"".join(iter(lambda: client.recv(65536), b""))

    assert reply.startswith(f"HTTP/1.1 {status} ".encode())
    assert house.agent.asked in ([], [("resume",)])
