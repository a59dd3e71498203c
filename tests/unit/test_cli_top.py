"""
`top`: one picture, and a live view that gives the terminal back.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from fake_admin import Console, FakeAgent, serve
from waiting import wait_until


@pytest.fixture
def console(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Console:
    return Console(tmp_path, capsys)


@pytest.fixture
def agent(console: Console) -> Iterator[FakeAgent]:
    fake = FakeAgent()
    fake.add("intent-a.json", "failed", message="exit code 3: " + "x" * 300)
    fake.add("intent-b.json")
    with serve(fake, console.socket):
        yield fake


def test_one_picture_where_there_is_no_terminal(console: Console, agent: FakeAgent) -> None:
    """All of it, uncut and without colours."""
    agent.health["components"] = {"store": "degraded"}
    agent.pauses["disk"] = {"since": "2026-11-23T07:00:00Z", "message": "/srv is full"}

    said = console.run("top")

    assert (said.code, said.err) == (0, "")
    lines = [line.split(maxsplit=1) for line in said.out.splitlines() if line]
    assert said.out.startswith("west  healthy  up 2h15m30s  conductor-loop 1.2.3\n")
    assert ["store", "degraded"] in lines
    paused = "paused  disk since 2026-11-23T07:00:00Z: /srv is full (it ends when that is mended)"
    assert ["intake", paused] in lines
    assert ["workers", "[###############.....] 3 of 4 busy"] in lines
    assert ["queue", "2 not taken yet, 12 ready to run, 1 waiting for another attempt"] in lines
    assert ["throughput", "0.50 files/s in the last minute"] in lines
    assert ["run", "time       p50 250ms, p95 -, p99 -, average 250ms"] in lines
    assert ["files", "processed 7, failed 2, rejected 1"] in lines
    assert ["attempts", "repeated 3, ended by the time limit 1"] in lines
    assert ["failed", "timeout 2"] in lines
    resources = "disk free 12 GiB, memory 45 MiB, CPU 3.2 %, threads 14, descriptors 31"
    assert ["resources", resources] in lines
    assert [line[0] for line in lines[-3:]] == ["ID", "5f3c-2", "5f3c-1"]
    assert said.out.rstrip().endswith("x" * 300)
    assert "\x1b" not in said.out


def test_document_has_all_that_the_picture_shows(console: Console, agent: FakeAgent) -> None:
    """The agent's own documents."""
    document = console.run("top", "-o", "json").document

    assert list(document) == ["version", "health", "metrics", "files"]
    assert document["metrics"] == agent.metrics


def test_without_an_agent_there_is_nothing_to_watch(console: Console) -> None:
    """Exit code 3, and how to start one."""
    said = console.run("top", "--once")

    assert (said.code, said.out) == (3, "")
    assert f"start it with `conductor-loop --config {console.config} run`" in said.err


@pytest.mark.parametrize("interval", ["0", "10ms", "often"])
def test_interval_must_leave_the_agent_in_peace(console: Console, interval: str) -> None:
    """Wrong usage."""
    assert console.run("top", "--interval", interval).code == 2


class Terminal:
    """
    A terminal of our own with `top` in it.
    """

    def __init__(self, console: Console, *options: str, **environ: str) -> None:
        self.outer, self.inner = pty.openpty()
        self.before = termios.tcgetattr(self.inner)
        self.seen = b""
        self.resize(100)
        self.process = subprocess.Popen(
            [
                # So that a key can be Ctrl-C.
                *("setsid", "--ctty"),
                *(sys.executable, "-m", "conductor_loop", "--config", str(console.config)),
                *("top", "--interval", "100ms", *options),
            ],
            stdin=self.inner,
            stdout=self.inner,
            stderr=self.inner,
            env={"PATH": os.environ["PATH"], "TERM": "xterm", **environ},
        )
        os.set_blocking(self.outer, False)

    def resize(self, width: int) -> None:
        fcntl.ioctl(self.inner, termios.TIOCSWINSZ, struct.pack("4H", 40, width, 0, 0))

    def read(self) -> bytes:
        with suppress(BlockingIOError):
            self.seen += os.read(self.outer, 65536)
        return self.seen

    def wait_for(self, text: bytes) -> None:
        wait_until(lambda: text in self.read())

    def ended(self) -> int:
        wait_until(lambda: self.read() and self.process.poll() is not None)
        self.read()
        return self.process.returncode


@contextmanager
def terminal(console: Console, *options: str, **environ: str) -> Iterator[Terminal]:
    one = Terminal(console, *options, **environ)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()
        os.close(one.outer)
        os.close(one.inner)


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "code"), [(b"q", 0), (b"\x03", 130), (signal.SIGTERM, 143)])
def test_terminal_is_given_back_however_it_ends(
    console: Console, agent: FakeAgent, ending: bytes | signal.Signals, code: int
) -> None:
    """Its modes, its screen and its cursor."""
    with terminal(console) as one:
        one.wait_for(b"3 of 4 busy")
        agent.metrics["workers"]["active_workers"] = 1
        one.wait_for(b"1 of 4 busy")
        if isinstance(ending, bytes):
            os.write(one.outer, ending)
        else:
            one.process.send_signal(ending)

        assert one.ended() == code
        assert termios.tcgetattr(one.inner) == one.before

    assert one.seen.startswith(b"\x1b[?1049h\x1b[?25l")
    assert b"\x1b[?25h\x1b[?1049l" in one.seen
    assert b"\x1b[32mwest  healthy" in one.seen


@pytest.mark.slow
def test_picture_fits_the_terminal_also_after_a_change(console: Console, agent: FakeAgent) -> None:
    """Lines are cut to its width, and it is drawn anew at once."""
    with terminal(console, "--interval", "1h", NO_COLOR="1") as one:
        one.wait_for(b"5f3c-1")
        assert widest(one.read()) == 100
        one.seen = b""
        one.resize(60)
        os.kill(one.process.pid, signal.SIGWINCH)
        one.wait_for(b"intent-a.json")
        assert widest(one.read()) == 60
        assert b"\x1b[3" not in one.read()
        os.write(one.outer, b"q")
        one.ended()


def widest(seen: bytes) -> int:
    text = re.sub(r"\x1b\[[?0-9]*[a-zA-Z]", "", seen.decode())
    return max(len(line.rstrip("\r")) for line in text.split("\n"))


@pytest.mark.slow
def test_agent_that_goes_away_is_told_of_and_found_again(console: Console) -> None:
    """Whoever watches a restart wants to see it."""
    agent = FakeAgent()
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        first.enter_context(serve(agent, console.socket))
        one = stack.enter_context(terminal(console))
        one.wait_for(b"no files yet")
        first.close()
        one.wait_for(b"no agent answers")
        one.seen = b""
        stack.enter_context(serve(agent, console.socket))
        one.wait_for(b"no files yet")
        os.write(one.outer, b"q")

        assert one.ended() == 0
