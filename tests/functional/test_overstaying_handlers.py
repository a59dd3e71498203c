"""
Python handlers past twice their timeout: nothing can stop them but the end of the agent.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents import Agent, agent
from conservation import assert_conserved
from waiting import wait_until

#: says which file it has, and never gives back one that has the word in its name
HANDLER = """
import threading

def handle(file):
    with open({runs!r}, "a") as runs:
        runs.write(file.name + "\\n")
    if "hangs" in file.name:
        threading.Event().wait()
"""


@pytest.mark.slow
def test_a_handler_past_twice_its_timeout_ends_the_agent_and_is_poison_the_third_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Exit code 70 each time, by the mark that is left the next start counts an interruption, and other files go on.
    """
    runs = tmp_path / "runs"
    (tmp_path / "hanging.py").write_text(HANDLER.format(runs=str(runs)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with agent(tmp_path, _settings()) as one:
        one.drop("intent-hangs.json")
        for interruptions in (0, 1, 2):
            one.start()
            one.drop(f"intent-{interruptions}.json")
            wait_until(lambda: _unhealthy_worker(one))
            assert one.ended(timeout=15) == 70
            assert [(mark["attempt"], mark["interruptions"]) for mark in _marks(one)] == [(1, interruptions)]
            assert one.rows()[0]["outcome"] is None
        assert "the handler has had" in one.log_text()
        assert one.once() == 1

        rows = assert_conserved(tmp_path, ["intent-hangs.json", *(f"intent-{n}.json" for n in range(3))])
    assert (rows[0]["outcome"], rows[0]["kind"], rows[0]["attempts"]) == ("failed", "poison", 0)
    assert {row["outcome"] for row in rows[1:]} == {"processed"}
    assert runs.read_text().split().count("intent-hangs.json") == 3


def _settings() -> dict[str, dict[str, object]]:
    return {
        "agent": {"shutdown_grace": "100ms"},
        "processor": {
            "kind": "python",
            "handler": "hanging:handle",
            "timeout": "500ms",
            "kill_grace": "100ms",
        },
    }


def _unhealthy_worker(one: Agent) -> bool:
    """
    Tell whether health says so, or the agent has ended for it already.
    """
    try:
        component: str = one.get("/health")[1]["components"]["worker_pool"]
    except OSError:
        assert one.process is not None
        return one.process.wait(10) == 70
    return component == "unhealthy"


def _marks(one: Agent) -> list[dict[str, int]]:
    lines = (one.state / "running").read_text().splitlines()
    return [json.loads(line) for line in lines if line.strip()]
