"""
A store that was destroyed while the agent was down, and rows that a wrong clock has written.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agents import INTENT, Agent, agent
from conductor_loop import clock
from conservation import assert_conserved
from waiting import wait_until

RUNS_UNTIL_TOLD = 'echo "$1" >> "$0/runs"; while [ ! -e "$0/go" ]; do sleep 0.05; done'
NAMES = ["intent-1.json", "intent-2.json", "intent-3.json"]


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[Agent]:
    settings: dict[str, dict[str, object]] = {
        "processor": {"command": ["/bin/sh", "-c", RUNS_UNTIL_TOLD, "{out_dir}", "{id}", "{path}"]},
        "agent": {"max_workers": 2},
    }
    with agent(tmp_path, settings) as one:
        yield one
        (one.out / "go").touch()


def leave_in_slots(subject: Agent) -> list[str]:
    """
    Have one file filed and three in slots when the agent is killed; return the ids known by then.
    """
    (subject.out / "go").touch()
    subject.drop("intent-0.json")
    subject.start()
    subject.filed(1)
    (subject.out / "go").unlink()
    for name in NAMES:
        subject.drop(name)
    wait_until(lambda: len(list(subject.work.glob("*/*/intent-*"))) == len(NAMES))
    wait_until(lambda: len((subject.out / "runs").read_text().split()) == 3)
    subject.kill()
    (status,) = subject.status.glob("*.status")
    return [json.loads(status.read_bytes())["id"]]


def garbage(database: Path) -> None:
    database.write_bytes(os.urandom(100_000))


def overwritten(database: Path) -> None:
    """
    Leave nothing but the first page, with which it can be opened.
    """
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = database.stat().st_size
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))


def truncated(database: Path) -> None:
    os.truncate(database, 5000)


def deleted(database: Path) -> None:
    database.unlink()


def emptied(database: Path) -> None:
    os.truncate(database, 0)


def marked(database: Path) -> None:
    database.with_name("history.db.corrupt").write_text("found damaged by the last agent")


@pytest.mark.slow
@pytest.mark.parametrize("destroy", [garbage, overwritten, truncated, deleted, emptied, marked])
def test_a_destroyed_store_loses_rows_and_no_file(subject: Agent, destroy: Callable[[Path], None]) -> None:
    """It is set aside, a new one begins, and what lies in slots is a new claim with an id of that."""
    before = leave_in_slots(subject)
    destroy(subject.state / "history.db")
    (subject.out / "go").touch()
    assert subject.once() == 0

    rows = assert_conserved(subject.root, NAMES, forgotten=before)
    assert {row["found_by"] for row in rows} == {"recovery"}
    ids = (subject.out / "runs").read_text().split()
    assert len(set(ids)) == len(ids)
    if destroy not in {deleted, emptied}:
        (aside,) = subject.state.glob("history.db.corrupt-*[0-9]")
        assert str(aside) in subject.log_text()


@pytest.mark.slow
def test_a_next_attempt_far_in_the_future_is_brought_back_at_start(tmp_path: Path) -> None:
    """The clock was wrong when the row was written: no file waits for longer than the longest delay."""
    command = ["/bin/sh", "-c", '[ "$CONDUCTOR_ATTEMPT" -gt 1 ] || exit 75', "{path}"]
    retry: dict[str, object] = {"initial_delay": "1h", "max_delay": "1h"}
    with agent(tmp_path, {"processor": {"command": command}, "retry": retry}) as subject:
        subject.drop("intent-1.json", INTENT)
        subject.start()
        wait_until(lambda: (subject.rows() or [{}])[0].get("next_attempt_at"))
        subject.kill()
        next_year = clock.now_us() + 365 * 86_400 * clock.SECOND
        with closing(sqlite3.connect(subject.state / "history.db")) as connection, connection:
            connection.execute("UPDATE files SET next_attempt_at = ?", (next_year,))
        text = subject.config.read_text().replace('max_delay = "1h"', 'max_delay = "100ms"')
        subject.config.write_text(text.replace('initial_delay = "1h"', 'initial_delay = "100ms"'))

        assert subject.once() == 0
        (row,) = assert_conserved(tmp_path, ["intent-1.json"])
        assert row["attempts"] == 2


@pytest.mark.slow
def test_the_same_name_dropped_again_before_the_first_is_marked_filed_is_run(tmp_path: Path) -> None:
    """Both rows name the same slot and name when the agent dies; the second file is not taken for the first."""
    command = [
        "/bin/sh",
        "-c",
        'echo "$1" >> "$0/runs"; [ ! -e "$0/hang" ] || sleep 60',
        "{out_dir}",
        "{id}",
        "{path}",
    ]
    with agent(tmp_path, {"processor": {"command": command}}) as subject:
        subject.drop("intent-1.json")
        subject.start()
        subject.filed(1)
        (subject.out / "hang").touch()
        subject.drop("intent-1.json")
        wait_until(lambda: len((subject.out / "runs").read_text().split()) == 2)
        subject.kill()
        first, second = subject.rows()
        assert (first["slot"], first["filed_at"]) == (second["slot"], None), "not the case this test is about"

        (subject.out / "hang").unlink()
        assert subject.once() == 0
        assert_conserved(tmp_path, ["intent-1.json"] * 2)
        runs = (subject.out / "runs").read_text().split()
        assert [file_id.rpartition("-")[2] for file_id in runs] == ["1", "2", "2"]
