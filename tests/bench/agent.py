"""
The real agent as a real process.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.measure import BenchError

TESTS = Path(__file__).parents[1]
AGENT = (sys.executable, "-m", "conductor_loop")
CLOCK_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
LOG_TAIL_BYTES = 2000


class Agent:
    """
    One agent with its directories below `directory`; not started yet.

    Args:
        processor: the configuration's section of that name.
        files: likewise.
        program: the command up to the arguments of the agent.
    """

    def __init__(
        self,
        directory: Path,
        processor: Mapping[str, object],
        *,
        files: Mapping[str, object] | None = None,
        program: Sequence[str] = AGENT,
    ) -> None:
        self.directory = directory
        self.handoff = directory / "handoff"
        self.processed = self.handoff / "processed"
        self.status = self.handoff / "status"
        self.failed = self.handoff / "failed"
        self.state = directory / "state"
        self.port = _free_port()
        self.peak_rss_bytes = 0
        self._program = program
        self._config = directory / "agent.toml"
        self._log = directory / "agent.log"
        self._process: subprocess.Popen[bytes] | None = None
        for needed in (self.handoff, directory / "out"):
            needed.mkdir()
        self._write_config(processor, files or {})

    @contextlib.contextmanager
    def running(self, *, once: bool = False) -> Iterator[Agent]:
        """
        Run the agent for the length of a `with` block; whatever is left of it then is killed.

        Args:
            once: work off what is there and exit.
        """
        command = [*self._program, "--config", os.fspath(self._config), "run"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--once"] if once else command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_environment(),
                start_new_session=True,
            )
        try:
            yield self
        finally:
            if self._process.poll() is None:
                # The whole group: a profiler may stand between us and the agent.
                os.killpg(self.pid, signal.SIGKILL)
                self._process.wait()
            self.close_stdin()

    @property
    def pid(self) -> int:
        return self._running.pid

    def close_stdin(self) -> None:
        """
        Let the agent's standard input end: the sign for `busy.py` to stop burning.
        """
        if self._running.stdin:
            self._running.stdin.close()

    def wait_exit(self, timeout: float) -> None:
        """
        Wait until the agent has ended well, noting its peak of memory on the way.
        """
        pidfd = os.pidfd_open(self.pid)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        deadline = time.monotonic() + timeout
        try:
            while not poll.poll(250):
                self.peak_rss_bytes = self.rss_bytes("VmHWM") or self.peak_rss_bytes
                if time.monotonic() > deadline:
                    raise self.error(f"still running after {timeout:g} s")
        finally:
            os.close(pidfd)
        if self._running.wait() != 0:
            raise self.error(f"exit code {self._running.returncode}")

    def stop(self, timeout: float = 60.0) -> None:
        """
        End the agent in its orderly way.
        """
        self.peak_rss_bytes = self.rss_bytes("VmHWM")
        self._running.send_signal(signal.SIGTERM)
        self.wait_exit(timeout)

    def wait_until(
        self, condition: Callable[[], bool], what: str, timeout: float, step: float = 0.005
    ) -> None:
        """
        Wait for a condition, but not for a dead agent.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            if self._running.poll() is not None:
                raise self.error(f"ended with exit code {self._running.returncode} before {what}")
            if time.monotonic() > deadline:
                raise self.error(f"waited {timeout:g} s in vain for {what}")
            time.sleep(step)

    def wait_ready(self, timeout: float = 120.0) -> None:
        """
        Wait until the agent says that it is ready.
        """
        self.wait_until(lambda: self.get("/health/ready")[0] == http.HTTPStatus.OK, "ready", timeout)

    def get(self, path: str) -> tuple[int, bytes]:
        """
        Return the status and body of one request, (0, b"") while nobody answers.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def rss_bytes(self, field: str = "VmRSS") -> int:
        """
        Return a memory figure of the kernel's, 0 when the process is gone.
        """
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)

    def cpu_seconds(self) -> float:
        """
        Return the CPU time the agent has used, without that of its commands.
        """
        stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / CLOCK_TICKS_PER_SECOND

    def filed_count(self) -> int:
        """
        Return how many files are in `processed`.
        """
        try:
            return len(os.listdir(self.processed))
        except FileNotFoundError:
            return 0

    def last_filed_ns(self) -> int:
        """
        Return the moment of the last filing: a rename sets ctime, so the directory itself is the witness.
        """
        with os.scandir(self.processed) as entries:
            return max(entry.stat().st_ctime_ns for entry in entries)

    def error(self, what: str) -> BenchError:
        """
        Return the error that says what went wrong with this agent, with the end of its log.
        """
        tail = self._log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
        return BenchError(f"the agent in {self.directory.name}: {what}; its log ends with:\n{tail}")

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise BenchError("the agent was not started")
        return self._process

    def _write_config(self, processor: Mapping[str, object], files: Mapping[str, object]) -> None:
        sections: dict[str, Mapping[str, object]] = {
            "agent": {"handoff_dir": os.fspath(self.handoff), "state_dir": os.fspath(self.state)},
            "processor": {"out_dir": os.fspath(self.directory / "out"), **processor},
            "http": {"metrics_port": self.port},
            "files": files,
        }
        lines = []
        for section, keys in sections.items():
            # JSON's strings, numbers and lists of strings are TOML's, too.
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        self._config.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _environment() -> dict[str, str]:
    """
    Return our environment with a path to the handlers and nothing that would configure the agent.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONDUCTOR_LOOP_")}
    return {**kept, "PYTHONPATH": os.fspath(TESTS)}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
