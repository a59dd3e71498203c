"""
Disks that are full and stores that cannot be written: nothing is lost, the pause says why, and space mends it.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from agents import INTENT, Agent, agent
from conservation import assert_conserved
from surroundings import fill, locked, remount, small_disk
from waiting import wait_until

FILES = [f"intent-{number}.json" for number in range(30)]
#: takes half a second, so that all of them are in hand when something happens
SOON = {"processor": {"command": ["/bin/sh", "-c", "sleep 0.5", "{path}"]}}


def test_too_little_free_space_pauses_before_anything_is_taken(tmp_path: Path) -> None:
    """
    `min_free` above what there is: nothing is claimed, health is degraded, `--once` says why and exits with 1.
    """
    with agent(tmp_path, {"agent": {"min_free": "8TiB"}}) as one:
        one.start()
        wait_until(lambda: "disk" in _paused(one))
        one.drop("intent-a.json")
        wait_until(lambda: b"conductor_loop_handoff_files 1" in one.get("/metrics/prometheus")[1])
        health = one.get("/health")[1]
        one.stop()
        assert one.once() == 1

        assert health["components"]["disk"] == "degraded"
        assert "are needed" in _paused_message(health, "disk")
        assert "are needed" in one.log_text()
        assert (one.handoff / "intent-a.json").exists()
        assert one.rows() == []


@pytest.mark.root
def test_a_full_out_dir_pauses_and_counts_against_no_file(tmp_path: Path) -> None:
    """
    The attempts that met it are no attempts; when there is space again all run.
    """
    settings = {
        "agent": {"min_free": "512KiB"},
        "processor": {
            "command": ["/bin/sh", "-c", 'cat "$1" > "$2/$3"', "sh", "{path}", "{out_dir}", "{name}"]
        },
        "retry": {"max_attempts": 1},
    }
    with small_disk(tmp_path / "out", "2m") as out, agent(tmp_path, settings) as one:
        one.start()
        filler = fill(out)
        for name in FILES:
            one.drop(name)
        wait_until(lambda: "disk" in _paused(one))
        wait_until(
            lambda: _in_hand(one) == 0
        )  # none that fails for want of space and is judged when there is some
        filler.unlink()
        one.filed(len(FILES))
        wait_until(lambda: _paused(one) == {})
        one.stop()

        rows = assert_conserved(tmp_path, FILES)
    assert {(row["outcome"], row["attempts"]) for row in rows} == {("processed", 1)}


@pytest.mark.root
def test_space_that_is_back_at_once_does_not_leave_a_pause_behind(tmp_path: Path) -> None:
    """
    An attempt finds the disk full, and before anybody else looks it is not any more.
    """
    fill_and_fail = (
        'test -e "$1/once" || { : > "$1/once"; cat /dev/zero > "$1/x"; (sleep 0.3; rm "$1/x") & exit 1; }'
    )
    settings = {
        "agent": {"min_free": "1MiB"},
        "processor": {"command": ["/bin/sh", "-c", fill_and_fail, "sh", "{out_dir}", "{path}"]},
    }
    with small_disk(tmp_path / "out", "4m"), agent(tmp_path, settings) as one:
        one.start()
        for turn in range(3):  # the look that comes every second may fall into the wrong moment
            (one.out / "once").unlink(missing_ok=True)
            one.drop(f"intent-{turn}.json")
            one.filed(turn + 1)
            wait_until(lambda: _paused(one) == {})
        one.stop()

        assert_conserved(tmp_path, [f"intent-{turn}.json" for turn in range(3)])


@pytest.mark.root
def test_a_full_state_disk_loses_no_outcome(tmp_path: Path) -> None:
    """
    Outcomes wait until they can be written, intake says why it is paused, and then goes on.
    """
    settings = {**SOON, "agent": {"min_free": "0B"}}
    with small_disk(tmp_path / "state", "8m") as state, agent(tmp_path, settings) as one:
        one.start()
        for name in FILES[:10]:
            one.drop(name)
        wait_until(lambda: _active(one) > 0)
        filler = fill(state)
        for name in FILES[10:]:
            one.drop(name)
        wait_until(lambda: "store" in _paused(one))
        assert "disk full" in _paused_message(one.get("/health")[1], "store")
        assert one.get("/health")[1]["components"]["store"] == "degraded"
        before = _processed(one)
        filler.unlink()
        one.filed(len(FILES))
        wait_until(lambda: one.get("/health")[1]["status"] == "healthy")
        assert one.stop() == 0

        rows = assert_conserved(tmp_path, FILES)
    assert before < len(FILES)
    assert {(row["outcome"], row["attempts"]) for row in rows} == {("processed", 1)}


@pytest.mark.root
@pytest.mark.parametrize("begun", [False, True], ids=["new", "used before"])
def test_starting_on_a_full_state_disk_is_a_clear_error(tmp_path: Path, begun: bool) -> None:
    """
    No traceback; and with space again it starts.
    """
    with small_disk(tmp_path / "state", "4m") as state, agent(tmp_path, {"agent": {"min_free": "0B"}}) as one:
        if begun:
            assert one.once() == 0
        filler = fill(state)
        one.drop("intent-a.json")
        code = one.once()
        log = one.log_text()
        filler.unlink()

        assert code in (1, 74)
        assert "Traceback" not in log
        assert "disk" in log or "space" in log
        assert one.once() == 0
        assert_conserved(tmp_path, ["intent-a.json"])


@pytest.mark.root
def test_a_full_handoff_disk_delays_filing_and_loses_nothing(tmp_path: Path) -> None:
    """
    Status files cannot be written and slots not be made; then they can.
    """
    with (
        small_disk(tmp_path / "handoff", "2m") as handoff,
        agent(tmp_path, {**SOON, "agent": {"min_free": "0B"}}) as one,
    ):
        one.start()
        for name in FILES:
            (handoff / name).write_bytes(INTENT)
        wait_until(lambda: _active(one) > 0)
        filler = fill(handoff)
        wait_until(lambda: one.get("/health")[1]["components"]["file_manager"] == "unhealthy")
        filler.unlink()
        one.filed(len(FILES))
        wait_until(lambda: one.get("/health")[1]["status"] == "healthy")
        one.stop()

        assert_conserved(tmp_path, FILES)


@pytest.mark.root
def test_a_read_only_store_is_a_clear_error(tmp_path: Path) -> None:
    """
    No traceback and nothing touched; the start after it is mended works off what is there.
    """
    with small_disk(tmp_path / "state", "8m") as state, agent(tmp_path, SOON) as one:
        one.start()
        one.drop(FILES[0])
        wait_until(lambda: _active(one) == 1)
        one.stop()
        remount(state, "ro")
        one.drop(FILES[1])
        assert one.once() in (74, 78)
        assert "Traceback" not in one.log_text()
        assert "read-only" in one.log_text().lower()
        remount(state, "rw")
        assert one.once() == 0

        assert_conserved(tmp_path, FILES[:2])


@pytest.mark.parametrize(
    "seconds", [1, pytest.param(30, marks=pytest.mark.slow)], ids=["a while", "half a minute"]
)
def test_a_locked_store_loses_no_outcome(tmp_path: Path, seconds: int) -> None:
    """
    Another process has it locked: outcomes wait, `/metrics` answers, and everything is filed afterwards once.
    """
    with agent(tmp_path, SOON) as one:
        one.start()
        for name in FILES[:10]:
            one.drop(name)
        wait_until(lambda: _active(one) > 0)
        with locked(one.state):
            for name in FILES[10:]:
                one.drop(name)
            wait_until(lambda: "store" in _paused(one))
            assert "locked" in _paused_message(one.get("/health")[1], "store")
            began = one.get("/metrics/prometheus")[1]
            _pass(seconds)
            assert one.get("/metrics")[0] == 200
        one.filed(len(FILES))
        wait_until(lambda: one.get("/health")[1]["status"] == "healthy")
        assert b"conductor_loop_store_write_errors_total 0.0" not in one.get("/metrics/prometheus")[1]
        assert b"conductor_loop_intake_paused" in began
        one.stop()

        rows = assert_conserved(tmp_path, FILES)
    assert {(row["outcome"], row["attempts"]) for row in rows} == {("processed", 1)}


@pytest.mark.slow
def test_stopping_while_the_store_is_locked_says_that_files_run_again(tmp_path: Path) -> None:
    """
    An outcome that could not be written is none: exit code 74, and the file is filed by the next start.
    """
    settings = {"agent": {"shutdown_grace": "0s"}, "processor": {"kill_grace": "0s"}}
    with agent(tmp_path, settings) as one:
        one.start()
        with locked(one.state):
            one.drop("intent-a.json")
            wait_until(lambda: "store" in _paused(one))
            assert one.stop() == 74
        assert "those files run again" in one.log_text()
        assert one.once() == 0

        assert_conserved(tmp_path, ["intent-a.json"])


def _paused(one: Agent) -> dict[str, object]:
    paused: dict[str, object] = one.get("/health")[1]["details"]["paused"]
    return paused


def _paused_message(health: dict[str, dict[str, dict[str, dict[str, str]]]], reason: str) -> str:
    return health["details"]["paused"][reason]["message"]


def _active(one: Agent) -> int:
    count: int = one.get("/metrics")[1]["workers"]["active_workers"]
    return count


def _in_hand(one: Agent) -> int:
    workers = one.get("/metrics")[1]["workers"]
    return int(workers["active_workers"] + workers["queue_depth"])


def _processed(one: Agent) -> int:
    count: int = one.get("/metrics")[1]["performance"]["files_processed_total"]
    return count


def _pass(seconds: float) -> None:
    threading.Event().wait(seconds)
