"""
The routes, called as WSGI calls them.
"""

from __future__ import annotations

import json
import logging
import socket
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from wsgiref.types import WSGIApplication
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

import scenario
from conductor_loop.http.guard import Guard, HostCheck
from conductor_loop.http.routes import make_app
from conductor_loop.metrics.live import Live
from conductor_loop.model import PauseReason

ROUTES = ["/", "/metrics", "/metrics/prometheus", "/health", "/health/live", "/health/ready"]


@dataclass
class Reply:
    """
    What came back.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


def ask(app: WSGIApplication, path: str, *, method: str = "GET", **headers: str) -> Reply:
    """
    Send one request; the validator checks that both sides keep to WSGI.
    """
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ |= {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": ""}
    environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    got: list[Any] = []

    def start_response(status: str, names: list[tuple[str, str]], exc_info: Any = None) -> Any:
        got.append((int(status[:3]), dict(names)))

    chunks = validator(app)(environ, start_response)
    try:
        body = b"".join(chunks)
    finally:
        chunks.close()
    status, found = got[-1]
    return Reply(status, found, body)


@pytest.fixture
def live() -> Live:
    made = Live(max_workers=4, command_name="porch")
    made.phase("running")
    return made


@pytest.fixture
def app(live: Live) -> WSGIApplication:
    return make_app(
        snapshot=live.snapshot,
        version="0.1.0",
        config_hash=lambda: "abc",
        hosts=["Agent.Example.org", "10.0.0.1"],
    )


def test_metrics_is_json_for_everybody_else(app: WSGIApplication):
    """
    No header, or a browser's.
    """
    for reply in (ask(app, "/metrics"), ask(app, "/metrics", accept="text/html,*/*;q=0.8")):
        assert (
            reply.status,
            reply.headers["Content-Type"],
            reply.headers["Vary"],
        ) == (200, "application/json", "Accept")
        assert reply.json["workers"]["max_workers"] == 4


def test_metrics_is_text_for_prometheus(app: WSGIApplication):
    """
    In the form that it prefers, on the page that it asks by default too.
    """
    text = ask(app, "/metrics", accept="text/plain;version=0.0.4")
    openmetrics = ask(app, "/metrics", accept="application/openmetrics-text;version=1.0.0;q=0.6,*/*;q=0.2")

    assert text.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert openmetrics.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert openmetrics.body.endswith(b"# EOF\n")
    assert text.headers["Vary"] == openmetrics.headers["Vary"] == "Accept"


def test_the_prometheus_page_is_text_for_everybody(app: WSGIApplication):
    """
    A browser, even one that asks for JSON, sees the text.
    """
    reply = ask(app, "/metrics/prometheus", accept="application/json")

    assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"conductor_loop_files_processed_total 0.0\n" in reply.body


@pytest.mark.parametrize(
    ("component_state", "status"), [("healthy", 200), ("degraded", 200), ("unhealthy", 503)]
)
def test_health_answers_by_status(live: Live, app: WSGIApplication, component_state: str, status: int):
    """
    Degraded still works, so it is 200.
    """
    live.health("disk", component_state, "as told")

    reply = ask(app, "/health")

    assert (status, component_state) == (reply.status, reply.json["status"])
    assert (reply.json["version"], reply.json["config_hash"]) == ("0.1.0", "abc")


def test_liveness_is_the_main_loop_and_nothing_else():
    """
    An unhealthy store is no reason to be killed; a main loop that stands is.
    """
    monotonic = scenario.Clock()
    live = Live(max_workers=1, command_name="x", monotonic=monotonic)
    app = make_app(snapshot=live.snapshot, version="", config_hash=lambda: "")
    live.phase("running")
    live.pause(PauseReason.STORE, "locked")
    assert ask(app, "/health/live").status == 200

    monotonic.now += 20
    assert ask(app, "/health/live").status == 503
    live.beat()
    assert ask(app, "/health/live").status == 200


def test_readiness_follows_phase_and_health(live: Live, app: WSGIApplication):
    """
    503 while starting, recovering, stopping or unhealthy.
    """
    assert ask(app, "/health/ready").status == 200
    live.health("store", "unhealthy", "")
    assert ask(app, "/health/ready").status == 503
    live.health("store", "healthy", "")
    for phase in ("starting", "recovering", "stopping"):
        live.phase(phase)
        reply = ask(app, "/health/ready")
        assert (503, phase) == (reply.status, reply.json["phase"])


@pytest.mark.parametrize("path", ROUTES)
def test_head_is_get_without_a_body(app: WSGIApplication, path: str):
    """
    With the length that the body would have.
    """
    got, headed = ask(app, path), ask(app, path, method="HEAD")

    assert got.status == headed.status
    assert headed.body == b""
    assert got.headers.keys() == headed.headers.keys()
    assert int(headed.headers["Content-Length"]) > 10


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused(app: WSGIApplication, method: str):
    """
    With 405, naming those that are allowed.
    """
    reply = ask(app, "/metrics", method=method)

    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")
    assert "GET and HEAD" in reply.json["error"]


@pytest.mark.parametrize(
    "path", ["/nope", "/metrics/", "//", "/\xc3\xa9", "/../etc/passwd", "/health/live/x"]
)
def test_an_unknown_page_lists_those_there_are(app: WSGIApplication, path: str):
    """
    As JSON.
    """
    reply = ask(app, path)

    assert (reply.status, reply.json["routes"]) == (404, ROUTES)
    assert reply.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("path", ["/api/v1/pause", "/api/v1/stop", "/api/v1/files/7/retry"])
def test_changes_are_refused_over_tcp(app: WSGIApplication, method: str, path: str):
    """
    Everybody on the machine can connect there; the answer says where to ask instead.
    """
    reply = ask(app, path, method=method)

    assert (reply.status, reply.json["kind"], reply.json["exit_code"]) == (403, "permission", 77)
    assert "admin socket" in reply.json["error"]


def test_an_unknown_page_names_what_the_admin_socket_has(app: WSGIApplication):
    """
    For whoever looks for it on the wrong door.
    """
    listed = ask(app, "/api/v1/files").json["on_admin_socket"]

    assert {"GET /api/v1/files", "POST /api/v1/files/<id>/retry", "POST /api/v1/drain"} <= set(listed)


@pytest.mark.parametrize("path", ["/metrics\xff", "/\xc3", "/health\xed\xa0\x80"])
def test_a_path_that_is_no_text_is_no_page(app: WSGIApplication, path: str):
    """
    Its bytes are not left out, which would make a page of it.
    """
    reply = ask(app, path)

    assert reply.status == 404
    assert "UTF-8" in reply.json["error"]


@pytest.mark.parametrize("path", [*ROUTES, "/nope"])
def test_every_answer_has_the_security_headers(app: WSGIApplication, path: str):
    """
    Not cached, not sniffed, nothing loaded or framed; no word of what serves it.
    """
    headers = ask(app, path).headers

    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Server" not in headers


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8080",
        "127.0.0.1",
        "127.0.0.1:8080",
        "192.168.7.7:9100",
        "[::1]:8080",
        "[fe80::1]",
        "agent.example.org:8080",
        "AGENT.example.org.",
        "10.0.0.1",
        socket.gethostname(),
        "",
    ],
)
def test_own_names_and_addresses_are_answered(app: WSGIApplication, host: str):
    """
    With or without port, in any case.
    """
    assert ask(app, "/health", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example:8080",
        "127.0.0.1.evil.example",
        "agent.example.org.evil",
        "x:y:z",
    ],
)
@pytest.mark.parametrize("path", ["/", "/metrics", "/health", "/nope"])
def test_other_names_are_refused(app: WSGIApplication, host: str, path: str):
    """
    A stranger's page that points its own name here reads nothing; the answer says how to allow a name.
    """
    reply = ask(app, path, host=host)

    assert reply.status == 403
    assert "http.allowed_hosts" in reply.json["error"]
    assert reply.json.keys() == {"error"}


def test_a_bug_is_answered_without_its_traceback(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    """
    The client gets 500 as JSON, the log the traceback, stderr nothing.
    """

    def broken() -> Any:
        raise RuntimeError("secret")

    app = make_app(snapshot=broken, version="", config_hash=lambda: "")

    with caplog.at_level(logging.ERROR):
        reply = ask(app, "/metrics")

    assert reply.status == 500
    assert b"secret" not in reply.body
    assert b"Traceback" not in reply.body
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert "secret" in caplog.text
    assert capsys.readouterr().err == ""


def test_a_refused_head_has_no_body():
    """
    As every HEAD.
    """

    def never(environ: Any, start_response: Any) -> list[bytes]:
        raise AssertionError("asked in spite of the wrong host")

    reply = ask(Guard(never, refuse=HostCheck(())), "/", method="HEAD", host="evil.example")

    assert (reply.status, reply.body) == (403, b"")


class Page(HTMLParser):
    """
    Collects text and references of a page.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in {"href", "src", "action"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_the_state_and_asks_nobody(live: Live, app: WSGIApplication):
    """
    No script, no request to anywhere else; what others wrote into messages is text.
    """
    live.pause(PauseReason.DISK, "<script>alert(1)</script> & \udcff")
    live.publish({("outcomes", "processed/"): 4321}, [scenario.processed(1)], 0.0)

    reply = ask(app, "/")
    page = Page()
    page.feed(reply.body.decode())

    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "4321" in page.text
    assert "degraded" in page.text
    assert "<script>alert(1)</script>" in page.text
    assert "script" not in page.tags
    assert page.references == ROUTES[1:]


def test_the_page_may_use_its_own_style_only(app: WSGIApplication):
    """
    The policy lets it in by its hash, so it must be the hash of what is sent.
    """
    import base64
    import hashlib

    reply = ask(app, "/")
    style = reply.body.partition(b"<style>")[2].partition(b"</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style).digest()).decode()

    assert f"style-src 'sha256-{digest}'" in reply.headers["Content-Security-Policy"]
