"""
The HTTP service on a real socket, with clients that mean no good.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from wsgiref.types import WSGIApplication

import pytest

from conductor_loop.http.routes import make_app
from conductor_loop.http.server import HttpServer
from conductor_loop.metrics import verdict
from conductor_loop.metrics.live import Live
from conductor_loop.runtime.deadline import Deadline
from ports import free_port
from shortage import descriptors_limited_to, no_descriptor_left
from waiting import wait_until

HOST = b"Host: localhost\r\n"
CLOSE = b"Connection: close\r\n"
HALF_HEADER = b"GET /health/live HTTP/1.1\r\n" + HOST + b"X-Never: "


@pytest.fixture
def live() -> Live:
    made = Live(max_workers=4, command_name="porch")
    made.phase("running")
    return made


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """
    No test leaves a thread or a descriptor behind.
    """
    threads, descriptors = threading.active_count(), _descriptors()
    yield
    wait_until(lambda: threading.active_count() <= threads)
    assert _descriptors() <= descriptors


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def started(app: WSGIApplication, live: Live, host: str, port: int, **options: Any) -> Iterator[HttpServer]:
    """
    Run a server, whether it can bind or not.
    """
    crashes: list[BaseException] = []
    server = HttpServer(app, host, port, live=live, **options)
    server.start(lambda _, error: crashes.append(error))
    try:
        yield server
    finally:
        server.request_stop()
        assert server.join(Deadline.after(10))
        assert not server.listening
        assert crashes == []


@contextmanager
def serving(app: WSGIApplication, live: Live, port: int = 0, **options: Any) -> Iterator[int]:
    """
    Run a server that answers; the value is its port.
    """
    port = port or free_port()
    with started(app, live, "127.0.0.1", port, **options) as server:
        wait_until(lambda: server.listening)
        yield port


def nothing(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """
    An application that nobody asks.
    """
    raise AssertionError("asked")


@pytest.fixture
def port(live: Live) -> Iterator[int]:
    app = make_app(snapshot=live.snapshot, version="0.1.0", config_hash=lambda: "abc")
    with serving(app, live) as bound:
        yield bound


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def send(port: int, data: bytes) -> bytes:
    """
    Send bytes and return all that comes back before the server closes.
    """
    with connect(port) as client:
        client.sendall(data)
        return b"".join(iter(lambda: client.recv(65536), b""))


def statuses(reply: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d+)", reply)]


def is_answered(port: int) -> bool:
    """
    Tell whether a well-behaved client gets its answer.
    """
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        client.request("GET", "/health/live")
        return json.loads(client.getresponse().read()) == {"alive": True}
    finally:
        client.close()


def closed(clients: list[socket.socket]) -> list[socket.socket]:
    """
    Return those whose server has hung up.
    """
    ready = set(select.select(clients, [], [], 0)[0])
    return [client for client in clients if client in ready and _is_at_end(client)]


def _is_at_end(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_page_is_served(port: int):
    """
    Twice over one connection.
    """
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    for _ in range(2):
        client.request("GET", "/metrics")
        reply = client.getresponse()
        assert json.loads(reply.read())["workers"]["max_workers"] == 4
        assert reply.getheader("Server") is None
    client.close()


def test_head_leaves_the_connection_usable(port: int):
    """
    Its length is that of the body it does not send.
    """
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    client.request("HEAD", "/metrics/prometheus")
    reply = client.getresponse()
    assert int(reply.getheader("Content-Length", "0")) > 1000
    assert reply.read() == b""
    client.request("GET", "/health/live")
    assert client.getresponse().read().startswith(b"{")
    client.close()


def test_several_accept_headers_count_as_one(port: int):
    """
    As HTTP says.
    """
    reply = send(
        port, b"GET /metrics HTTP/1.1\r\n" + HOST + CLOSE + b"Accept: image/png\r\nAccept: text/plain\r\n\r\n"
    )

    assert b"Content-Type: text/plain; version=0.0.4" in reply


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"GET /health/live HTTP/1.0\r\n\r\n", [200]),
        ((b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n") * 2 + b"\x00\r\n\r\n", [200, 200, 400]),
        (b"GET /health/live HTTP/1.1\r\nHost: localhost:\r\n" + CLOSE + b"\r\n", [200]),
        (b"GET /health/live HTTP/1.1\r\nHost: localhost:abc\r\n" + CLOSE + b"\r\n", [200]),
        (b"GET /health/live HTTP/1.1\r\nHost: [::1]:8080\r\n" + CLOSE + b"\r\n", [200]),
        (b"GET /health HTTP/1.1\r\nHost: evil.example\r\n" + CLOSE + b"\r\n", [403]),
        (b"GET http://evil.example/health HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", [404]),
        (b"GET /%ff%00%2e%2e/\xff HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", [404]),
        (b"GET /metrics%ff HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", [404]),
        (b"GET /health HTTP/1.1\r\n\r\n", [400]),
        (b"GET /health HTTP/1.1\r\n" + HOST + HOST + b"\r\n", [400]),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"X : a\r\n\r\n", [400]),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", [400]),
        (b"\x16\x03\x01\x00\xa5\x01\x00\r\n\r\n", [400]),
        (bytes(range(256)) + b"\r\n\r\n", [400]),
        (b"POST /health HTTP/1.1\r\n" + HOST + CLOSE + b"Content-Length: 3\r\n\r\nabc", [405]),
        (
            b"POST /health HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
            [400],
        ),
        (b"POST /health HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n\r\nabcde", [400]),
        (b"POST /health HTTP/1.1\r\n" + HOST + b"Content-Length: 70000\r\n\r\n" + b"a" * 100, [400]),
        (b"POST /health HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000000000\r\n\r\n", [400]),
        (b"POST /health HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n", [400]),
        (b"POST /health HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", [400]),
        (
            b"POST /health HTTP/1.1\r\n"
            + HOST
            + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\n"
            + HOST
            + b"\r\n",
            [400],
        ),
    ],
)
def test_odd_requests_have_their_answer(
    port: int, request_bytes: bytes, expected: list[int], caplog: pytest.LogCaptureFixture
):
    """
    None hangs, none smuggles a second request past the first, none fills the log.
    """
    with caplog.at_level(logging.INFO):
        assert statuses(send(port, request_bytes)) == expected

    assert caplog.records == []


def test_an_oversized_header_ends_the_connection(port: int):
    """
    Without an answer: the server stops reading at 16 KiB.
    """
    request = b"GET /health HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 65536 + b"\r\n\r\n"
    try:
        reply = send(port, request)
    except ConnectionError:
        reply = b""

    assert statuses(reply) == []
    assert is_answered(port)


@pytest.mark.slow
def test_silent_and_trickling_clients_are_dropped_at_the_deadline(port: int):
    """
    Each byte of a header or body that never ends buys no time, and others are answered meanwhile.
    """
    half_body = b"POST /health HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n"
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(60)]
        begun = time.monotonic()
        for number, client in enumerate(clients):
            client.sendall(half_body if number % 2 else HALF_HEADER)

        def all_gone() -> bool:
            for client in clients:
                _trickle(client)
            return len(closed(clients)) == len(clients)

        while time.monotonic() < begun + 8:
            assert not all_gone()
            assert is_answered(port)
            threading.Event().wait(0.5)
        wait_until(all_gone, 10.0, step=0.25)


def _trickle(client: socket.socket) -> None:
    with suppress(ConnectionError):
        client.send(b"a")


def test_the_quietest_connection_gives_way_at_the_cap(live: Live):
    """
    A flood of half requests locks nobody out.
    """
    app = make_app(snapshot=live.snapshot, version="", config_hash=lambda: "")
    with serving(app, live, max_connections=20) as port, ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(100)]
        for client in clients:
            _send_if_open(client, HALF_HEADER)
            assert is_answered(port) or client is not clients[-1]

        wait_until(lambda: len(closed(clients)) >= 80)
        assert clients[-1] not in closed(clients)
        assert is_answered(port)


def test_few_descriptors_mean_few_connections(live: Live):
    """
    A quarter of them at most, so that files go on whoever connects.
    """
    app = make_app(snapshot=live.snapshot, version="", config_hash=lambda: "")
    with ExitStack() as stack:
        with descriptors_limited_to(400):
            port = stack.enter_context(serving(app, live))
            clients = [stack.enter_context(connect(port)) for _ in range(120)]
            wait_until(lambda: len(closed(clients)) >= 20)
        assert is_answered(port)


def test_without_a_descriptor_the_quietest_connection_gives_way(live: Live, caplog: pytest.LogCaptureFixture):
    """
    The newcomer is answered, and the log says once why others were cut off.
    """
    app = make_app(snapshot=live.snapshot, version="", config_hash=lambda: "")
    request = b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n"
    with serving(app, live) as port, ExitStack() as stack:
        newcomers = [stack.enter_context(socket.socket()) for _ in range(2)]
        quiet = [stack.enter_context(connect(port)) for _ in range(3)]
        for client in quiet:  # in turn, so that it is known who is the quietest
            client.sendall(request)
            assert statuses(client.recv(65536)) == [200]
        with no_descriptor_left():
            for newcomer in newcomers:
                newcomer.connect(("127.0.0.1", port))
                newcomer.sendall(request)
                assert statuses(newcomer.recv(65536)) == [200]

        assert closed(quiet) == quiet[:2]
    assert caplog.text.count("cannot take a connection: Too many open files") == 1


def _send_if_open(client: socket.socket, data: bytes) -> None:
    with suppress(ConnectionError):
        client.sendall(data)


def slowly(release: threading.Event, app: WSGIApplication) -> WSGIApplication:
    """
    Return an application whose `/slow` waits.
    """

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/slow":
            return app(environ, start_response)
        release.wait(10)
        start_response("200 OK", [("Content-Length", "4")])
        return [b"slow"]

    return answer


def test_slow_answers_do_not_keep_others_waiting(live: Live):
    """
    Sixteen at once leave room for /health.
    """
    release = threading.Event()
    app = slowly(release, make_app(snapshot=live.snapshot, version="", config_hash=lambda: ""))
    with serving(app, live) as port, ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(16)]
        for client in clients:
            client.sendall(b"GET /slow HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")

        assert is_answered(port)
        release.set()
        assert [client.makefile("rb").read()[-4:] for client in clients] == [b"slow"] * 16


def test_a_client_that_leaves_early_disturbs_nobody(live: Live, caplog: pytest.LogCaptureFixture):
    """
    Its answer goes nowhere and nothing is logged.
    """
    release = threading.Event()
    app = slowly(release, make_app(snapshot=live.snapshot, version="", config_hash=lambda: ""))
    with serving(app, live) as port:
        with connect(port) as client:
            client.sendall(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
            assert is_answered(port)
        release.set()
        assert is_answered(port)

    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.slow
def test_readers_that_never_read_are_dropped(live: Live):
    """
    A large answer that nobody takes does not occupy a connection for ever.
    """
    body = b"x" * 8_000_000

    def large(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    with serving(large, live) as port, ExitStack() as stack:
        before = _descriptors()
        for _ in range(50):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", port))
            client.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        wait_until(lambda: _descriptors() == before + 100)
        assert len(send(port, b"GET / HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")) > len(body)

        wait_until(lambda: _descriptors() <= before + 50, 20.0)


def test_a_failing_application_costs_one_connection(live: Live, caplog: pytest.LogCaptureFixture):
    """
    The server goes on, and the log says what happened.
    """

    def broken(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] == "/broken":
            raise RuntimeError("oh no")
        start_response("200 OK", [("Content-Length", "15")])
        return [b'{"alive": true}']

    with serving(broken, live) as port:
        assert send(port, b"GET /broken HTTP/1.1\r\n" + HOST + b"\r\n") == b""
        assert is_answered(port)

    assert "oh no" in caplog.text


def test_stop_with_fifty_open_connections_is_quick_and_the_port_is_free_at_once(live: Live):
    """
    Idle and half-finished ones; the next server binds while their sockets linger.
    """
    app = make_app(snapshot=live.snapshot, version="", config_hash=lambda: "")
    with ExitStack() as stack:
        with serving(app, live) as port:
            clients = [stack.enter_context(connect(port)) for _ in range(50)]
            for number, client in enumerate(clients):
                client.sendall(HALF_HEADER if number % 2 else b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            assert is_answered(port)
            begun = time.monotonic()

        assert time.monotonic() - begun < 2
        wait_until(lambda: all(_drain(client) for client in clients))
        with serving(app, live, port):
            assert is_answered(port)


def _drain(client: socket.socket) -> bool:
    try:
        while client.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_stop_waits_for_the_answer_that_is_being_made(live: Live):
    """
    No handler outlives the service unnoticed; one that hangs is told of by `join`.
    """
    release = threading.Event()
    with ExitStack() as stack:
        port = free_port()
        server = stack.enter_context(started(slowly(release, nothing), live, "127.0.0.1", port))
        wait_until(lambda: server.listening)
        client = stack.enter_context(connect(port))
        client.sendall(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        wait_until(lambda: any(thread.name.startswith("http_") for thread in threading.enumerate()))
        server.request_stop()
        assert not server.join(Deadline.after(0.2))
        release.set()
        assert server.join(Deadline.after(5))


def test_a_taken_port_is_tried_again(live: Live, caplog: pytest.LogCaptureFixture):
    """
    Meanwhile `metrics` is unhealthy and names port and holder; the log says it once.
    """
    app = make_app(snapshot=live.snapshot, version="", config_hash=lambda: "")
    port = free_port()
    with ExitStack() as stack:
        holder = stack.enter_context(socket.create_server(("127.0.0.1", port)))
        server = stack.enter_context(started(app, live, "127.0.0.1", port, retry_seconds=0.05))
        condition = wait_until(lambda: live.snapshot().conditions.get("metrics"))
        assert condition.state == "unhealthy"
        assert f"port {port}: taken by pid {os.getpid()} (" in condition.message
        threading.Event().wait(0.2)
        assert not server.listening
        holder.close()
        wait_until(lambda: server.listening)

        assert is_answered(port)
        assert verdict.assess(live.snapshot()).status == "healthy"
        assert caplog.text.count("taken by") == 1


def test_a_server_that_waits_for_its_port_stops_at_once(live: Live):
    """
    It does not sleep its five seconds out.
    """
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        with started(nothing, live, "127.0.0.1", port):
            wait_until(lambda: live.snapshot().conditions.get("metrics"))
            begun = time.monotonic()
        assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("192.0.2.1", "not an address of this machine"),
        ("127.0.0.1:80", "not an IP address"),
        ("bad..name", "not a name that can be resolved"),
        ("\xe9..", "not a name that can be resolved"),
    ],
)
def test_an_address_that_cannot_be_bound_is_explained(live: Live, host: str, words: str):
    """
    The agent goes on; health says why there are no metrics.
    """
    with started(nothing, live, host, free_port()):
        condition = wait_until(lambda: live.snapshot().conditions.get("metrics"))

    assert words in condition.message


@pytest.mark.parametrize("host", ["::1", "::"])
def test_ipv6_is_served(live: Live, host: str):
    """
    By address; the address of all takes IPv4 too.
    """
    app = make_app(snapshot=live.snapshot, version="", config_hash=lambda: "")
    port = free_port()
    with started(app, live, host, port) as server:
        wait_until(lambda: server.listening)
        client = http.client.HTTPConnection("::1", port, timeout=5)
        client.request("GET", "/health/live")
        assert client.getresponse().status == 200
        client.close()
        assert host == "::1" or is_answered(port)


def test_port_0_is_no_server(live: Live):
    """
    No thread, nothing to stop.
    """
    before = threading.active_count()
    server = HttpServer(nothing, "127.0.0.1", 0, live=live)
    server.start(lambda *_: None)

    assert threading.active_count() == before
    assert not server.listening
    server.request_stop()
    assert server.join(Deadline.after(0))


def test_a_stop_before_the_start_is_not_lost(live: Live):
    """
    And one during it neither.
    """
    early = HttpServer(nothing, "127.0.0.1", free_port(), live=live)
    early.request_stop()
    early.start(lambda *_: None)
    assert early.join(Deadline.after(5))

    for _ in range(20):
        racing = HttpServer(nothing, "127.0.0.1", free_port(), live=live)
        racing.start(lambda *_: None)
        racing.request_stop()
        racing.request_stop()
        assert racing.join(Deadline.after(5))
