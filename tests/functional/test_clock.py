"""
A wall clock that steps back while the agent runs.
"""

from __future__ import annotations

import sys
from pathlib import Path

from agents import INTENT, agent
from conservation import assert_conserved
from waiting import wait_until

PROGRAM = Path(__file__).with_name("clock_set_back.py")
HOUR_US = 3600 * 1_000_000


def test_a_clock_that_steps_back_an_hour_stops_nothing(tmp_path: Path) -> None:
    """
    Files written in place settle, failing ones are repeated, empty ones rejected, and ids keep the order.
    """
    sign = tmp_path / "set back"
    command = [
        "/bin/sh",
        "-c",
        'grep -q retry "$1" && test "$2" -lt 3 && exit 75; true',
        "sh",
        "{path}",
        "{attempt}",
    ]
    settings = {
        "agent": {"settle": "100ms", "reject_after": "300ms"},
        "processor": {"command": command},
        "retry": {"initial_delay": "200ms", "max_delay": "200ms"},
    }
    with agent(tmp_path, settings) as one:
        one.start(program=(sys.executable, str(PROGRAM), str(sign)))
        for number in range(5):
            one.drop(f"intent-before-{number}.json")
        one.filed(5)
        one.drop("intent-retry.json", INTENT.replace(b"cell", b"retry"))
        wait_until(lambda: one.rows()[-1]["attempts"] > 0)
        sign.touch()
        for number in range(5):
            (one.handoff / f"intent-after-{number}.json").write_bytes(INTENT)
        one.drop("intent-empty.json", b"")
        one.filed(12, timeout=10)
        metrics = one.get("/metrics")[1]
        health = one.get("/health")[1]
        one.stop()

        rows = assert_conserved(tmp_path)
        attempts = one.rows("SELECT * FROM attempts")
    after = [row for row in rows if "after" in row["name"]]
    before = [row for row in rows if "before" in row["name"]]
    assert max(row["number"] for row in before) < min(row["number"] for row in after)
    assert max(row["finished_at"] for row in after) < min(row["finished_at"] for row in before)
    assert next(row for row in rows if "retry" in row["name"])["attempts"] == 3
    assert next(row for row in rows if "empty" in row["name"])["kind"] == "empty"
    assert all(0 <= attempt["duration_us"] < HOUR_US // 60 for attempt in attempts)
    assert all(row["wait_us"] is None or row["wait_us"] >= 0 for row in rows)
    assert 0 < metrics["performance"]["latency_percentiles"]["99"] < 60
    assert metrics["performance"]["throughput_files_per_sec"] >= 0
    assert health["status"] == "healthy"
