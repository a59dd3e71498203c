"""
`status` and `health`: asking an agent over HTTP.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from conductor_loop import cli
from conductor_loop.cli.agent_client import base_url
from conductor_loop.config import Http
from conductor_loop.store.database import Store


class FakeAgent(ThreadingHTTPServer):
    """
    Answers as the agent does; the answers can be set.
    """

    def __init__(self) -> None:
        self.health: dict[str, Any] = {
            "status": "healthy",
            "uptime": "2h15m30s",
            "version": "1.2.3",
            "agent": "agent",
            "instance_id": "5f3c",
            "config_hash": "0123456789ab",
            "components": {"store": "healthy", "disk": "healthy"},
            "details": {"components": {}},
            "warnings": [],
        }
        self.metrics: Any = {"performance": {"files_processed_total": 7, "latency_percentiles": {"50": None}}}
        self.asked = 0
        self.heal_after = 0
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def set(self, status: str, **components: str) -> None:
        self.health |= {"status": status, "components": components}


class Answer(BaseHTTPRequestHandler):
    server: FakeAgent

    def do_GET(self) -> None:
        self.server.asked += 1
        if self.server.heal_after and self.server.asked > self.server.heal_after:
            self.server.set("healthy", store="healthy")
        document = self.server.health if self.path == "/health" else self.server.metrics
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        bad = self.path == "/health" and self.server.health["status"] == "unhealthy"
        self.send_response(503 if bad else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    with FakeAgent() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def nobody() -> Iterator[str]:
    """
    Give the URL of a port that is bound and not listened on.
    """
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def ask(*arguments: str) -> object:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    return caught.value.code


@pytest.mark.parametrize("command", ["status", "health"])
@pytest.mark.parametrize("form", ["table", "json"])
def test_nobody_answers(command: str, form: str, nobody: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3 in either form, and who was asked."""
    assert ask(command, "--url", nobody, "-o", form) == 3

    said = capsys.readouterr()
    assert f"nobody answers at {nobody}; is the agent running?" in said.err + said.out
    if (command, form) == ("health", "json"):
        document = json.loads(said.out)
        assert (document["verdict"], document["exit_code"], document["health"]) == ("unreachable", 3, None)


@pytest.mark.parametrize("answer", [b"hello", b"[]", b"{}", b'{"performance": 1}', b"[" * 100_000, b"\xff"])
def test_another_program_on_the_port_is_no_agent(
    agent: FakeAgent, answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """What answers in another way is not taken for an agent."""
    agent.metrics = answer

    assert ask("status", "--url", agent.url) == 3
    assert "does the port belong to another program?" in capsys.readouterr().err


def test_program_that_speaks_no_http_is_no_agent(capsys: pytest.CaptureFixture[str]) -> None:
    """Not even a status line."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"220 mail.example.net\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        code = ask("health", "--url", f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()

    assert code == 3
    assert "no agent answers" in capsys.readouterr().err


def test_status_shows_facts_and_does_not_judge(agent: FakeAgent, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 even of an unhealthy agent; what another version does not say is left out."""
    agent.set("unhealthy", store="unhealthy", disk="healthy")
    agent.health["details"] = {"components": {"store": "locked by another process"}}
    agent.health["warnings"] = ["SQLite is old"]
    agent.metrics["performance"] |= {
        "average_processing_time": "300ms",
        "latency_percentiles": {"50": 0.25, "95": None},
    }

    assert ask("status", "--url", agent.url) == 0

    rows = dict(re.split("  +", line.strip(), maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["health"] == "unhealthy"
    assert rows["store"] == "unhealthy: locked by another process"
    assert rows["warning"] == "SQLite is old"
    assert rows["agent"] == f"agent, at {agent.url}"
    assert rows["run time"] == "p50 250ms, p95 -, average 300ms"
    assert "disk" not in rows


def test_pause_has_a_line_of_its_own(agent: FakeAgent, capsys: pytest.CaptureFixture[str]) -> None:
    """With its reason, since when it stands and what ends it; the component does not say it again."""
    agent.set("degraded", fsnotify_watcher="degraded", disk="degraded")
    agent.health["details"] = {
        "components": {
            "fsnotify_watcher": "intake is paused (operator): moving (root); intake is paused (drain): later",
            "disk": "intake is paused (disk): full; slow",
        },
        "paused": {
            "operator": {"since": "2026-11-23T07:43:18Z", "message": "moving (root)"},
            "disk": {"since": "2026-11-23T07:43:19Z", "message": "full"},
            "drain": {"since": "2026-11-23T07:43:20Z", "message": "later"},
        },
    }
    for command in ("status", "health"):
        assert ask(command, "--url", agent.url) == 0

        lines = [re.split("  +", line.strip()) for line in capsys.readouterr().out.splitlines()]
        assert ["fsnotify_watcher", "degraded: intake is paused"] in lines
        assert ["disk", "degraded: intake is paused; slow"] in lines
        ours = (
            "operator since 2026-11-23T07:43:18Z: moving (root) (`conductor-loop resume` ends it)",
            "disk since 2026-11-23T07:43:19Z: full (it ends when that is mended)",
            "drain since 2026-11-23T07:43:20Z: later (`conductor-loop resume` ends it)",
        )
        assert [line[1] for line in lines if line[0] == "intake paused"] == list(ours)


def test_warning_that_never_changes_is_left_out_of_health(
    agent: FakeAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever reads it every time reads none; `status` and the document have it."""
    agent.health["warnings"] = ["SQLite is old", "restart to use it"]
    agent.health["details"] = {"warnings": {"sqlite": "SQLite is old", "restart": "restart to use it"}}

    ask("health", "--url", agent.url)
    health = capsys.readouterr().out
    ask("status", "--url", agent.url)
    status = capsys.readouterr().out
    ask("health", "--url", agent.url, "-o", "json")

    assert "restart to use it" in health
    assert "SQLite" not in health
    assert "SQLite is old" in status
    assert json.loads(capsys.readouterr().out)["health"]["warnings"] == agent.health["warnings"]


def test_another_agent_at_our_port_is_not_taken_for_ours(
    agent: FakeAgent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two agents with the default port: whoever answers must have our name and, where we can see it, our database."""
    path = tmp_path / "agent.toml"
    state = tmp_path / "state"
    state.mkdir()
    with closing(Store.open(state, now=0)) as store:
        ours = store.store_id
    path.write_text(
        f'[agent]\nstate_dir = "{state}"\nhandoff_dir = "{tmp_path}/in"\n[http]\nmetrics_port = {agent.server_port}\n'
    )

    for name, store_id in (("edge-9", ours), ("agent", "another")):
        agent.health |= {"agent": name, "instance_id": store_id}
        for command in ("status", "health"):
            assert ask("--config", str(path), command) == 3
            said = capsys.readouterr()
            assert said.out == ""
            assert f"another agent ({name}) answers at {agent.url}; ours does not run" in said.err
        assert ask("--config", str(path), "config", "show") == 0
        assert "another configuration" not in capsys.readouterr().err
    agent.health |= {"agent": "agent", "instance_id": ours}
    assert ask("--config", str(path), "status") == 0


def test_status_json_has_a_version_and_the_agents_own_documents(
    agent: FakeAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shape that scripts rely on."""
    assert ask("status", "--url", agent.url, "-o", "json") == 0

    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["version", "url", "health", "metrics"]
    assert document["version"] == 1
    assert document["metrics"] == agent.metrics
    assert document["health"] == agent.health


@pytest.mark.parametrize(
    ("status", "options", "code"),
    [
        ("healthy", [], 0),
        ("degraded", [], 0),
        ("degraded", ["--strict"], 4),
        ("unhealthy", ["--strict"], 4),
        ("unhealthy", [], 4),
        ("healthy", ["--strict", "--expect-version", "1.2.3"], 0),
        ("healthy", ["--expect-version", "1.2.4"], 4),
    ],
)
def test_health_is_a_verdict(
    agent: FakeAgent, status: str, options: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code says it, the same in either form."""
    agent.set(status, store=status)

    verdict = "unhealthy" if code else status
    assert ask("health", "--url", agent.url, *options) == code
    assert capsys.readouterr().out.split()[:2] == ["health", verdict]

    assert ask("health", "--url", agent.url, "-o", "json", *options) == code
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["version", "url", "verdict", "exit_code", "reason", "health"]
    assert (document["version"], document["verdict"], document["exit_code"]) == (1, verdict, code)
    assert document["health"]["status"] == status


def test_degraded_is_named_where_it_is_not_accepted(
    agent: FakeAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the exit code would have no reason."""
    agent.set("degraded", store="healthy")
    ask("health", "--url", agent.url, "--strict")

    assert "degraded, which --strict does not accept" in capsys.readouterr().out


def test_another_version_is_named(agent: FakeAgent, capsys: pytest.CaptureFixture[str]) -> None:
    """After an upgrade one wants to know which one still runs."""
    ask("health", "--url", agent.url, "--expect-version", "2.0.0")

    assert "version 1.2.3 runs, not 2.0.0" in capsys.readouterr().out


def test_health_waits_until_the_answer_is_good(agent: FakeAgent) -> None:
    """Asked again and again; no longer than needed."""
    agent.set("unhealthy", store="unhealthy")
    agent.heal_after = 2

    assert ask("health", "--url", agent.url, "--wait", "30") == 0
    assert agent.asked == 3


def test_health_does_not_wait_longer_than_told(agent: FakeAgent) -> None:
    """Then the last verdict counts."""
    agent.set("unhealthy", store="unhealthy")

    assert ask("health", "--url", agent.url, "--wait", "400ms") == 4
    assert agent.asked >= 2


def test_configured_agent_is_asked(agent: FakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its host and port, past any proxy of the environment."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    path = tmp_path / "agent.toml"
    path.write_text(f'[http]\nmetrics_host = "0.0.0.0"\nmetrics_port = {agent.server_port}\n')

    assert ask("--config", str(path), "health") == 0


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("::1", "http://[::1]:8080"),
        ("localhost", "http://localhost:8080"),
    ],
)
def test_address_to_ask(host: str, url: str) -> None:
    """An address that is listened on is not always one to connect to."""
    assert base_url(Http(metrics_host=host)) == url
