"""
The admin socket of an agent, with files that a test makes up.
"""

from __future__ import annotations

import fnmatch
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, ClassVar, NamedTuple, cast
from urllib.parse import parse_qsl
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from conductor_loop import cli

STORE = "5f3c"
Document = dict[str, Any]


class RefusalError(Exception):
    """
    An answer that is an error, as the agent gives it.
    """

    def __init__(self, status: int, kind: str, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.document = {"error": message, "kind": kind, "exit_code": exit_code}


class FakeAgent:
    """
    Answers requests of the administration as an agent does.
    """

    def __init__(self) -> None:
        self.files: list[Document] = []
        self.pauses: Document = {}
        self.draining: list[Document] = [{"drained": True, "running": 0, "queued": 0, "waiting": 0}]
        self.reloaded: Document = {
            "changed": {},
            "needs_restart": {},
            "warnings": [],
            "config_hash": "0" * 12,
        }
        self.busy = 0  #: so many retries are told to come again
        self.retry_ends_as: str | None = "processed"
        self.refuse_reload = ""
        self.on_drain: Callable[[], object] = lambda: None
        self.stop: Callable[[], object] = lambda: None
        self.broken = False  #: every connection ends without an answer
        self.before_retry_of: dict[str, Callable[[], object]] = {}  #: by id
        self.asked: list[str] = []  #: method, path and query of each request
        self.health: Document = {
            "status": "healthy",
            "timestamp": "2026-11-23T07:43:18Z",
            "uptime": "2h15m30s",
            "version": "1.2.3",
            "agent": "west",
            "instance_id": STORE,
            "config_hash": "0123456789ab",
            "components": {"store": "healthy"},
            "details": {"phase": "running", "components": {}, "paused": self.pauses},
            "warnings": [],
        }
        self.metrics: Document = {
            "performance": {
                "files_processed_total": 7,
                "files_failed_total": 2,
                "validation_failures_total": 1,
                "retry_attempts_total": 3,
                "throughput_files_per_sec": 0.5,
                "average_processing_time": "250ms",
                "latency_percentiles": {"50": 0.25, "95": None, "99": None},
            },
            "resources": {
                "memory_usage_bytes": 45 << 20,
                "cpu_percent": 3.21,
                "thread_count": 14,
                "file_descriptor_count": 31,
                "disk_free_bytes": 12 << 30,
            },
            "workers": {
                "max_workers": 4,
                "active_workers": 3,
                "worker_utilization": 75.0,
                "queue_depth": 12,
                "handoff_files": 2,
                "retry_waiting": 1,
            },
            "errors": {
                "timeout_count": 1,
                "validation_errors_by_type": {},
                "processing_errors_by_type": {"timeout": 2},
            },
        }

    def add(self, name: str, outcome: str | None = "processed", **facts: Any) -> Document:
        """
        Enter a file with the next number.
        """
        number = len(self.files) + 1
        bad = outcome in ("failed", "rejected")
        file: Document = {
            "id": f"{STORE}-{number}",
            "name": name,
            "outcome": outcome,
            "kind": "command_failed" if bad else None,
            "message": "exit code 3" if bad else "",
            "found_by": "event",
            "discovered_at": "2026-11-23T07:43:16Z",
            "claimed_at": "2026-11-23T07:43:17Z",
            "finished_at": f"2026-11-23T07:{number:02}:00Z" if outcome else None,
            "next_attempt_at": None,
            "attempts": 1,
            "interruptions": 0,
            "exit_code": 3 if bad else 0,
            "duration_seconds": 0.25,
            "wait_seconds": 0.5,
            "size_bytes": 76,
            "sha256": "ab" * 32,
            "filed_as": name if outcome else None,
            "status_file": f"{name}-20261123-074318.status",
            "retry_of": None,
            "retried_as": None,
            "state": None if outcome else "queued",
            "running_since": None,
            "last_failure": None,
            "path": f"/srv/in/failed/{name}" if bad else None,
            "status_path": None,
            "error_log": None,
            "runs": [],
            "interrupted_runs": [],
        }
        self.files.append(file | facts)
        return self.files[-1]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        method, path, query = environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"]
        self.asked.append(f"{method} {path}{f'?{query}' if query else ''}")
        if self.broken:
            self.break_off()
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = json.loads(environ["wsgi.input"].read(length)) if length else {}
        try:
            answer, status = self._answer(method, path, dict(parse_qsl(query)), body), 200
        except RefusalError as refusal:
            answer, status = refusal.document, refusal.status
        start_response(f"{status} -", [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]

    def _answer(self, method: str, path: str, query: dict[str, str], body: Document) -> Document:
        if path == "/api/v1/files":
            return self._search(query)
        if path.startswith("/api/v1/files/"):
            return self._file(path.removeprefix("/api/v1/files/"), body)
        return self._ROUTES[f"{method} {path}"](self, body)

    def _search(self, query: dict[str, str]) -> Document:
        before = int(query["before"].rpartition("-")[2]) if "before" in query else len(self.files) + 1
        found = [
            self._listed(file, with_path="places" in query)
            for file in reversed(self.files[: before - 1])
            if (file["outcome"] or "open") in query.get("outcome", file["outcome"] or "open").split(",")
            and fnmatch.fnmatchcase(file["name"], query.get("name", "*"))
            and ("kind" not in query or file["kind"] in query["kind"].split(","))
            and query.get("since", "") <= (file["finished_at"] or file["claimed_at"])
            and ("unresolved" not in query or self._is_unresolved(file))
        ]
        limit = int(query.get("limit", 50))
        more = len(found) > limit
        return {"files": found[:limit], "next": found[limit - 1]["id"] if more else None}

    @staticmethod
    def _listed(file: Document, *, with_path: bool) -> Document:
        only_shown = {"status_path", "error_log", "runs", "interrupted_runs"} | (
            set() if with_path else {"path"}
        )
        return {key: value for key, value in file.items() if key not in only_shown}

    @staticmethod
    def _is_unresolved(file: Document) -> bool:
        return file["outcome"] in ("failed", "rejected") and file["retried_as"] is None

    def _file(self, rest: str, body: Document) -> Document:
        wanted, _, verb = rest.partition("/")
        number = int(wanted.rpartition("-")[2])
        if not 0 < number <= len(self.files):
            raise RefusalError(404, "not_found", 1, f"there is no file {wanted}")
        file = self.files[number - 1]
        return self._retry(file, dry_run=body["dry_run"]) if verb == "retry" else file

    def break_off(self) -> None:
        """
        End the connection without an answer.
        """
        raise ConnectionAbortedError

    def _retry(self, file: Document, *, dry_run: bool) -> Document:
        self.before_retry_of.get(file["id"], lambda: None)()
        if self.busy:
            self.busy -= 1
            raise RefusalError(503, "busy", 1, "there is no room")
        if file["retried_as"] is not None or file["outcome"] not in ("failed", "rejected"):
            raise RefusalError(409, "conflict", 1, f"{file['id']} cannot be retried")
        answer = {"retry_of": file["id"], "name": file["name"], "path": file["path"]}
        if dry_run:
            return {"id": None, **answer}
        new = self.add(file["name"], self.retry_ends_as, retry_of=file["id"])
        file |= {"retried_as": new["id"], "path": None}
        return {"id": new["id"], **answer}

    def _pause(self, body: Document) -> Document:
        before = self.pauses.get("operator")
        self.pauses["operator"] = {"since": "2026-11-23T07:43:18Z", "message": body["message"]}
        return {"pauses": self.pauses, "before": before}

    def _resume(self, body: Document) -> Document:
        lifted = [reason for reason in self.pauses if reason in ("operator", "drain")]
        for reason in lifted:
            del self.pauses[reason]
        return {"lifted": lifted, "pauses": self.pauses}

    def _drain(self, body: Document) -> Document:
        self.on_drain()
        self.pauses["drain"] = {"since": "2026-11-23T07:43:18Z", "message": "drained"}
        state = self.draining.pop(0) if len(self.draining) > 1 else self.draining[0]
        return {**state, "pauses": self.pauses}

    def _reload(self, body: Document) -> Document:
        if self.refuse_reload:
            raise RefusalError(422, "config", 78, self.refuse_reload)
        return self.reloaded

    def _stop(self, body: Document) -> Document:
        self.stop()
        return {"stopping": True}

    _ROUTES: ClassVar[dict[str, Callable[[FakeAgent, Document], Document]]] = {
        "GET /health": lambda self, body: self.health,
        "GET /metrics": lambda self, body: self.metrics,
        "GET /api/v1/pauses": lambda self, body: {"pauses": self.pauses},
        "POST /api/v1/pause": _pause,
        "POST /api/v1/resume": _resume,
        "POST /api/v1/drain": _drain,
        "POST /api/v1/reload": _reload,
        "POST /api/v1/stop": _stop,
    }


@contextmanager
def serve(app: Callable[..., Any], path: Path) -> Iterator[None]:
    """
    Have an application answer at a unix socket.
    """
    with _Server(cast("Any", str(path)), _Handler) as server:
        server.set_app(app)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            path.unlink(missing_ok=True)


class _Server(ThreadingMixIn, WSGIServer):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "localhost", 0
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    def setup(self) -> None:
        super().setup()
        self.client_address = ("local", 0)  # of a unix socket there is none

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Said(NamedTuple):
    """
    What a command came to.
    """

    code: object
    out: str
    err: str

    @property
    def document(self) -> Document:
        """
        Its answer in JSON.
        """
        found: Document = json.loads(self.out)
        return found


class Console:
    """
    Commands about one configuration, run in this process.

    Args:
        root: has the configuration, and `admin.sock` in its folder `state`.
    """

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.config = root / "agent.toml"
        self.state = root / "state"
        self.socket = self.state / "admin.sock"
        self._capsys = capsys
        self.state.mkdir()
        (root / "handoff").mkdir()
        lines = [
            "[agent]",
            f'handoff_dir = "{root}/handoff"',
            f'state_dir = "{self.state}"',
            "[processor]",
            f'out_dir = "{root}/out"',
            "[http]",
            "metrics_port = 0",
        ]
        self.config.write_text("\n".join(lines) + "\n")

    def run(self, *arguments: object) -> Said:
        """
        Run one command.
        """
        with pytest.raises(SystemExit) as caught:
            cli.main(["--config", str(self.config), *map(str, arguments)])
        return Said(caught.value.code, *self._capsys.readouterr())
