"""
Old files are deleted by the agent itself, and nothing else is.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agents import INTENT, Agent, agent
from waiting import wait_until

pytestmark = pytest.mark.slow

SOON: dict[str, dict[str, object]] = {
    "agent": {"pattern": "*.json"},
    "files": {"keep_processed": "1s", "keep_failed": "1s", "keep_status": "1s"},
}
DAY_US = 86_400 * 1_000_000


def _drop_some(one: Agent) -> None:
    for number in range(8):
        one.drop(f"good-{number}.json")
    for number in range(4):
        one.drop(f"bad-{number}.json", INTENT.replace(b"3", b'"x"'))


def _names(one: Agent) -> list[str]:
    """
    Return everything that is filed.
    """
    return sorted(name for folder in (one.processed, one.failed, one.status) for name in os.listdir(folder))


def test_old_files_go_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    """
    Processed, rejected, their error logs and status files; the rows stay, and the agent is well.
    """
    with agent(tmp_path, SOON) as one:
        for folder in (one.processed, one.failed, one.status):
            folder.mkdir()
            (folder / "good-0.json").write_text("mine")
        one.start()
        _drop_some(one)
        wait_until(lambda: len(one.rows("SELECT * FROM files WHERE filed_at IS NOT NULL")) == 12)
        wait_until(lambda: _names(one) == ["good-0.json"] * 3, timeout=30)
        health = one.get("/health")[1]
        one.stop()

        found = {row["outcome"] for row in one.rows()}
    assert health["status"] == "healthy"
    assert found == {"processed", "rejected"}
    assert (one.processed / "good-0.json").read_text() == "mine"


def test_a_killed_agent_leaves_nothing_behind(tmp_path: Path) -> None:
    """
    Killed in the middle of deleting, it goes on at the next start, also with what was never filed before.
    """
    with agent(tmp_path, SOON) as one:
        one.start()
        _drop_some(one)
        wait_until(lambda: len(one.rows("SELECT * FROM files WHERE filed_at IS NOT NULL")) == 12)
        wait_until(lambda: len(_names(one)) < 24, timeout=30)
        one.drop("late.json")
        one.kill()
        one.start()
        wait_until(lambda: len(one.rows("SELECT * FROM files WHERE filed_at IS NOT NULL")) == 13)
        wait_until(lambda: not _names(one), timeout=30)
        one.stop()


def test_nothing_is_deleted_after_a_jump_of_the_clock(tmp_path: Path) -> None:
    """
    The agent is degraded and says why; files are worked on as ever.
    """
    forever: dict[str, dict[str, object]] = {"files": dict.fromkeys(SOON["files"], "0")}
    with agent(tmp_path, {**SOON, **forever}) as one:
        assert one.once() == 0
    with closing(sqlite3.connect(one.state / "history.db")) as connection, connection:
        changed = connection.execute(
            "UPDATE totals SET value = value - ? WHERE metric = 'clock' AND label = 'seen_at'", (10 * DAY_US,)
        )
        assert changed.rowcount == 1
    with agent(tmp_path, SOON) as one:
        one.start()
        one.drop("good.json")
        one.filed(1)
        health = one.get("/health")[1]
        wait_until(lambda: one.rows()[0]["filed_at"])
        rounds = _seen_at(one)
        wait_until(lambda: _seen_at(one) > rounds + 2_500_000)
        one.stop()

    assert health["status"] == "degraded"
    assert "nothing is deleted" in health["details"]["components"]["state_manager"]
    assert any("nothing is deleted" in warning for warning in health["warnings"])
    assert [path.name for path in one.processed.iterdir()] == ["good.json"]
    assert "than when the agent last saw it" in one.log_text()


def _seen_at(one: Agent) -> int:
    value: int = one.rows("SELECT value FROM totals WHERE metric = 'clock' AND label = 'seen_at'")[0]["value"]
    return value
