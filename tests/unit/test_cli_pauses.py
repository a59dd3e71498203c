"""
`pause`, `resume`, `drain` and `reload`.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor_loop.ledger.locks import DirectoryLock
from fake_admin import Console, FakeAgent, serve

BUSY = {"drained": False, "running": 2, "queued": 1, "waiting": 0}
DONE = {"drained": True, "running": 0, "queued": 0, "waiting": 3}


@pytest.fixture
def console(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Console:
    monkeypatch.setattr("conductor_loop.cli.drain.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("conductor_loop.cli.drain.EXIT_SECONDS", 0.01)  # the agents here are of this process
    return Console(tmp_path, capsys)


@pytest.fixture
def agent(console: Console) -> Iterator[FakeAgent]:
    fake = FakeAgent()
    with serve(fake, console.socket):
        yield fake


def posts(agent: FakeAgent) -> list[str]:
    return [request for request in agent.asked if request.startswith("POST")]


def test_pause_and_resume_say_what_stands(console: Console, agent: FakeAgent) -> None:
    """All reasons, as others may stand besides."""
    agent.pauses["disk"] = {"since": "2026-11-23T07:00:00Z", "message": "/srv has 1 MiB left"}

    paused = console.run("pause", "--message", "maintenance")
    resumed = console.run("resume")

    disk = "intake is paused: disk since 2026-11-23T07:00:00Z: /srv has 1 MiB left (it ends when that is mended)\n"
    ours = "intake is paused: operator since 2026-11-23T07:43:18Z: maintenance (`conductor-loop resume` ends it)\n"
    assert paused == (0, f"{disk}{ours}", "")
    assert resumed == (0, f"ended: operator\n{disk}", "")


def test_resume_without_a_pause_is_no_failure(console: Console, agent: FakeAgent) -> None:
    """It is what was wanted."""
    assert console.run("resume") == (0, "ended: nothing, as nobody had paused it\nintake is not paused\n", "")


def test_documents_of_pause_and_resume(console: Console, agent: FakeAgent) -> None:
    """The shape that scripts rely on."""
    pauses = {"operator": {"since": "2026-11-23T07:43:18Z", "message": "why"}}

    assert console.run("pause", "--message", "why", "-o", "json").document == {
        "version": 1,
        "dry_run": False,
        "pauses": pauses,
        "before": None,
    }
    assert console.run("pause", "--dry-run", "-o", "json").document["before"] == pauses["operator"]
    assert console.run("resume", "--dry-run", "-o", "json").document == {
        "version": 1,
        "dry_run": True,
        "lifted": ["operator"],
        "pauses": pauses,
    }
    assert console.run("resume", "-o", "json").document["pauses"] == {}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["pause", "--message", "x"], "intake would be paused: x"),
        (["resume"], "would end: drain"),
        (["drain"], "running 3 and ready to run 12 would end"),
        (["drain", "--stop"], "running 3 and ready to run 12 would end"),
    ],
)
def test_dry_run_changes_nothing(console: Console, agent: FakeAgent, command: list[str], said: str) -> None:
    """It says what would be done, and what stands now."""
    agent.pauses["drain"] = {"since": "2026-11-23T07:43:18Z", "message": ""}

    told = console.run(*command, "--dry-run")

    assert (told.code, told.err) == (0, "")
    assert said in told.out
    assert posts(agent) == []


def test_second_pause_says_that_there_was_one(console: Console, agent: FakeAgent) -> None:
    """Since when and why, as its message is gone now; tried only, it says what it would do."""
    console.run("pause", "--message", "moving the storage")

    tried = console.run("pause", "--message", "second", "--dry-run")
    done = console.run("pause", "--message", "second")

    before = "it was paused already, since 2026-11-23T07:43:18Z; its message"
    assert tried.out.splitlines()[0] == "intake would be paused: second"
    assert tried.out.splitlines()[-1] == f"{before} would be replaced: moving the storage"
    assert done.out.splitlines()[-1] == f"{before} was replaced: moving the storage"


def test_dry_run_of_a_pause_says_one_thing(console: Console, agent: FakeAgent) -> None:
    """Nothing of what is not so."""
    assert console.run("pause", "--dry-run") == (0, "intake would be paused\n", "")


def test_drain_waits_until_nothing_runs(console: Console, agent: FakeAgent) -> None:
    """Asked again and again, then told."""
    agent.draining = [BUSY, BUSY, DONE]

    assert console.run("drain") == (0, "drained; waiting for another attempt: 3\n", "")
    assert len(posts(agent)) == 3


def test_drain_does_not_wait_longer_than_told(console: Console, agent: FakeAgent) -> None:
    """What still runs is named, and that the pause stays."""
    agent.draining = [BUSY]

    for wait in ("0", "50ms"):
        said = console.run("drain", "--wait", wait)
        assert (said.code, said.out) == (6, "")
        assert "running 2, ready to run 1; nothing new is taken until" in said.err
    assert "drain" in agent.pauses


def test_drain_stops_the_agent_and_waits_for_its_end(console: Console) -> None:
    """It has ended when it holds its directory no more."""
    agent, stop = FakeAgent(), threading.Event()
    agent.draining = [BUSY, DONE]
    agent.stop = stop.set
    lock = DirectoryLock(console.state, "an agent")

    def serve_until_stopped() -> None:
        with serve(agent, console.socket):
            ready.set()
            stop.wait(10)
        threading.Event().wait(0.1)
        lock.close()
        ended.set()

    ready, ended = threading.Event(), threading.Event()
    thread = threading.Thread(target=serve_until_stopped)
    thread.start()
    ready.wait(10)
    try:
        said = console.run("drain", "--stop")
        assert ended.is_set()
    finally:
        stop.set()
        thread.join()

    assert said == (0, "drained, and the agent has stopped; waiting for another attempt: 3\n", "")


def test_agent_that_does_not_end_is_told_of(console: Console, agent: FakeAgent) -> None:
    """Exit code 6, as with what runs too long."""
    agent.draining = [DONE]

    said = console.run("drain", "--stop", "--wait", "50ms")

    assert said.code == 6
    assert "has not ended yet" in said.err
    assert posts(agent)[-1] == "POST /api/v1/stop"


def test_document_of_drain(console: Console, agent: FakeAgent) -> None:
    """The shape that scripts rely on."""
    document = console.run("drain", "-o", "json").document

    assert list(document) == [
        *("version", "dry_run", "drained", "running", "queued", "waiting", "pauses", "stopped"),
    ]
    assert list(console.run("drain", "--dry-run", "-o", "json").document) == list(document)


def test_reload_names_what_changed_and_what_waits(console: Console, agent: FakeAgent) -> None:
    """Old and new value of each; warnings apart."""
    agent.reloaded = {
        "changed": {"agent.pattern": {"from": "*.json", "to": "intent-*.json"}},
        "needs_restart": {"agent.name": {"from": "a", "to": "b"}},
        "warnings": ["unknown key"],
        "config_hash": "0123456789ab",
    }

    assert console.run("reload") == (
        0,
        'changed: agent.pattern from "*.json" to "intent-*.json"\nneeds a restart: agent.name from "a" to "b"\n',
        "warning: unknown key\n",
    )
    assert console.run("reload", "--dry-run").out.startswith("would change: agent.pattern")
    assert console.run("reload", "-o", "json").document == {"version": 1, "dry_run": False, **agent.reloaded}


def test_reload_of_the_same_says_so(console: Console, agent: FakeAgent) -> None:
    """It is no failure."""
    assert console.run("reload") == (0, "nothing has changed\n", "")


def test_refused_reload_has_the_code_of_a_bad_configuration(console: Console, agent: FakeAgent) -> None:
    """And all that is wrong, a line each."""
    agent.refuse_reload = "a.toml: [agent] settle: wrong\na.toml: [agent] name: wrong"

    said = console.run("reload")

    goes_on = "the agent goes on with the configuration that it has"
    assert (said.code, said.out, said.err) == (78, "", f"{agent.refuse_reload}\n{goes_on}\n")


def test_reload_needs_an_agent(console: Console) -> None:
    """The next one reads its configuration anyway."""
    said = console.run("reload")

    assert (said.code, said.out) == (3, "")
    assert "no agent runs" in said.err


def test_interrupted_drain_says_that_it_goes_on(console: Console, agent: FakeAgent) -> None:
    """Ctrl-C ends the waiting, not the pause."""
    agent.draining = [BUSY]
    agent.on_drain = lambda: os.kill(os.getpid(), signal.SIGINT)

    said = console.run("drain")

    assert (said.code, said.out) == (130, "")
    assert "nothing new is taken until `conductor-loop resume`" in said.err
