"""
The real agent as a real process, on directories of the test's own.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, Any

from ports import free_port
from waiting import wait_until

PROGRAM = (sys.executable, "-m", "conductor_loop")
INTENT = b'{"intent_type": "scaling", "target": "cell", "namespace": "ran", "replicas": 3}'
#: so that a test need not wait for what only patience brings
QUICK: dict[str, dict[str, object]] = {
    "agent": {"settle": "10ms", "reject_after": "10ms", "scan_interval": "200ms", "min_free": "1MiB"},
    "processor": {"command": ["/bin/true", "{path}"], "timeout": "20s", "kill_grace": "200ms"},
    "retry": {"initial_delay": "10ms", "max_delay": "50ms"},
}


class Agent:
    """
    The directories and the configuration of one agent, and its process while there is one.

    Args:
        root: everything is below it.
        settings: sections of the configuration, over those of `QUICK`.
    """

    def __init__(self, root: Path, settings: Mapping[str, Mapping[str, object]] | None = None) -> None:
        self.root = root
        self.handoff = root / "handoff"
        self.state = root / "state"
        self.out = root / "out"
        self.work = self.handoff / "work"
        self.processed = self.handoff / "processed"
        self.failed = self.handoff / "failed"
        self.status = self.handoff / "status"
        self.port = free_port()
        self.config = root / "agent.toml"
        self.log = root / "agent.log"
        self.process: subprocess.Popen[bytes] | None = None
        for needed in (self.handoff, self.out):
            needed.mkdir(parents=True, exist_ok=True)
        self._write_config(settings or {})

    def drop(self, name: str, content: bytes = INTENT) -> None:
        """
        Put a file into the handoff directory, whole and at once.
        """
        hidden = self.root / "about-to-be-dropped"
        hidden.write_bytes(content)
        os.rename(hidden, os.path.join(os.fsencode(self.handoff), os.fsencode(name)))

    def start(
        self, *, program: Sequence[str] = PROGRAM, ready: bool = True, stderr: IO[bytes] | None = None
    ) -> None:
        """
        Start the agent; with `ready` return when it says that it is. Its stderr goes to the log like its stdout, or apart.
        """
        self._spawn([*program, "--config", str(self.config), "run"], stderr)
        if ready:
            wait_until(self.is_ready, timeout=20)

    def once(self, *, program: Sequence[str] = PROGRAM, timeout: float = 30.0) -> int:
        """
        Work off what is there; return the exit code, -9 if it was killed.
        """
        self._spawn([*program, "--config", str(self.config), "run", "--once"])
        return self.ended(timeout)

    def ended(self, timeout: float = 30.0) -> int:
        """
        Wait for the agent's own end; return its exit code.
        """
        assert self.process is not None
        code = self.process.wait(timeout)
        self.process = None
        return code

    def stop(self, timeout: float = 30.0) -> int:
        """
        Ask it to end as a service manager does; return its exit code.
        """
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.ended(timeout)

    def kill(self) -> None:
        """
        End it as power loss would; what it has started lives on.
        """
        if self.process is not None:
            self.process.kill()
            self.ended()

    def is_ready(self) -> bool:
        """
        Tell whether the agent says that it is ready; it must not have ended.
        """
        assert self.process is not None
        assert self.process.poll() is None, self.log_text()
        try:
            return self.get("/health/ready")[0] == 200
        except OSError:
            return False

    def get(self, path: str) -> tuple[int, Any]:
        """
        Return status and JSON of a page.
        """
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        with closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        return answer.status, json.loads(body) if body.startswith(b"{") else body

    def rows(self, query: str = "SELECT * FROM files ORDER BY number") -> list[dict[str, Any]]:
        """
        Return rows of the database as it is now.
        """
        path = self.state / "history.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query)]

    def filed(self, count: int, timeout: float = 20.0) -> None:
        """
        Wait until so many files are in `processed/` and `failed/`, and none is in work.
        """

        def all_there() -> bool:
            done = [*self.processed.glob("*"), *self.failed.glob("*")]
            return len([path for path in done if not path.name.endswith(".error.log")]) == count

        wait_until(all_there, timeout)

    def log_text(self) -> str:
        """
        Return what all agents on these directories have said.
        """
        return self.log.read_text(errors="replace")

    def _spawn(self, argv: Sequence[str], stderr: IO[bytes] | None = None) -> None:
        assert self.process is None
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=stderr or log)

    def _write_config(self, settings: Mapping[str, Mapping[str, object]]) -> None:
        own: dict[str, dict[str, object]] = {
            "agent": {"handoff_dir": str(self.handoff), "state_dir": str(self.state)},
            "processor": {"out_dir": str(self.out)},
            "http": {"metrics_port": self.port},
        }
        names = dict.fromkeys([*QUICK, *own, *settings])
        sections = {
            name: {**QUICK.get(name, {}), **own.get(name, {}), **settings.get(name, {})} for name in names
        }
        # JSON's strings, numbers and lists are TOML's as well.
        lines = (
            "\n".join([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())])
            for name, keys in sections.items()
        )
        self.config.write_text("\n".join(lines) + "\n")


@contextmanager
def agent(root: Path, settings: Mapping[str, Mapping[str, object]] | None = None) -> Iterator[Agent]:
    """
    Give an agent that is not started yet; a process that is left at the end is killed.
    """
    one = Agent(root, settings)
    try:
        yield one
    finally:
        one.kill()
