"""
`doctor`, `files explain`, `db check` and `db backup` beside a running agent and after a killed one.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agents import INTENT, PROGRAM, Agent, agent
from untouched import picture
from waiting import wait_until

SLOW = {
    "agent": {"shutdown_grace": "100ms"},
    "processor": {"command": ["/bin/sh", "-c", "sleep 60", "{path}"], "timeout": "2m"},
}


def ask(one: Agent, *arguments: str) -> tuple[int, Any]:
    """
    Return the exit code and the JSON of a command.
    """
    done = subprocess.run(
        [*PROGRAM, "--config", str(one.config), *arguments, "-o", "json"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def results(document: dict[str, Any], result: str) -> dict[str, str]:
    return {check["name"]: check["message"] for check in document["checks"] if check["result"] == result}


@pytest.mark.slow
def test_killed_agent_is_looked_at_without_a_trace(tmp_path: Path) -> None:
    """
    What the next start would do is told twice alike, nothing changes, and the start does it.
    """
    with agent(tmp_path, SLOW) as one:
        one.start()
        for number in range(3):
            one.drop(f"intent-{number}.json")
        wait_until(lambda: one.get("/metrics")[1]["workers"]["active_workers"] == 3)
        one.kill()
        before = picture(tmp_path)

        code, first = ask(one, "doctor")
        assert ask(one, "files", "explain", str(one.work / "agent" / "0" / "intent-0.json"))[0] == 0
        assert ask(one, "db", "check", "--full")[0] == 0
        _, second = ask(one, "doctor")

        assert picture(tmp_path) == before
        assert code == 0, results(first, "failed")
        assert first["running"] is False
        assert [action["action"] for action in first["recovery"]] == ["resume"] * 3
        assert first["recovery"] == second["recovery"]
        assert "processes of an agent that has died still run" in results(first, "warning")["leftovers"]

        one.start()
        for action in first["recovery"]:
            assert f"recovery: {action['message']}" in one.log_text()
        assert one.stop() == 0


@pytest.mark.slow
def test_running_agent_is_asked(tmp_path: Path) -> None:
    """
    Its own words, its own port, and nothing that is in the middle of a move is called lost.
    """
    with agent(tmp_path, SLOW) as one:
        one.start()
        one.drop("intent-a.json")
        wait_until(lambda: one.get("/metrics")[1]["workers"]["active_workers"] == 1)

        code, document = ask(one, "doctor")

        assert code == 0, results(document, "failed")
        assert (document["running"], document["recovery"]) == (True, None)
        assert results(document, "ok")["worker_pool"] == "healthy"
        assert "the agent listens there" in results(document, "ok")["port"]
        assert "the agent 'agent', process" in results(document, "ok")["agent"]
        assert one.stop() == 0


@pytest.mark.slow
def test_copy_and_check_beside_an_agent_at_work(tmp_path: Path) -> None:
    """
    Both end well, no file is delayed for good or lost, and the copy is a whole database.
    """
    with agent(tmp_path) as one:
        one.start()
        for number in range(300):
            one.drop(f"intent-{number}.json", INTENT)
        checks = [ask(one, "db", "check") for _ in range(2)]
        code, made = ask(one, "db", "backup")
        one.filed(300, timeout=60)

        assert [(code, document["sound"]) for code, document in checks] == [(0, True)] * 2
        assert code == 0
        with closing(sqlite3.connect(f"file:{made['target']}?mode=ro", uri=True)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            numbers = [number for (number,) in connection.execute("SELECT number FROM files ORDER BY number")]
        assert numbers == list(range(1, len(numbers) + 1))
        assert one.stop() == 0
