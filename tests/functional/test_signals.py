"""
Stopping: the first signal lets running work end, the second ends it at once; neither counts against a file.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from agents import Agent, agent
from conservation import assert_conserved
from surroundings import locked
from waiting import wait_until

HELD = Path(__file__).with_name("held_agent.py")
FILES = [f"intent-{number}.json" for number in range(6)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains(tmp_path: Path, number: signal.Signals) -> None:
    """
    Running commands finish and are filed, claimed files stay for the next start, the exit code is 0.
    """
    with agent(tmp_path, _settings(tmp_path)) as one:
        one.start()
        _occupy(one)
        _signal(one, number)
        wait_until(lambda: one.get("/health/ready")[0] == 503)
        assert one.get("/health/live")[0] == 200
        (tmp_path / "go").touch()
        assert one.ended() == 0
        assert len(list(one.processed.iterdir())) == 2
        assert _open_rows(one) == [(0, 0)] * 4

        assert one.once() == 0
        rows = assert_conserved(tmp_path, FILES)
    assert {(row["outcome"], row["attempts"]) for row in rows} == {("processed", 1)}


def test_what_runs_longer_than_the_grace_is_ended_and_run_again_uncounted(tmp_path: Path) -> None:
    """
    Interrupted is neither failed nor an attempt.
    """
    with agent(tmp_path, _settings(tmp_path, shutdown_grace="200ms")) as one:
        one.start()
        _occupy(one)
        assert one.stop(timeout=10) == 0
        assert _waiting(tmp_path) == []
        assert _open_rows(one) == [(0, 0)] * len(FILES)

        (tmp_path / "go").touch()
        assert one.once() == 0
        rows = assert_conserved(tmp_path, FILES)
    assert {(row["outcome"], row["attempts"]) for row in rows} == {("processed", 1)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_stops_at_once(tmp_path: Path, number: signal.Signals) -> None:
    """
    With 128 and its number, no survivors, and nothing counted.
    """
    with agent(tmp_path, _settings(tmp_path)) as one:
        one.start()
        _occupy(one)
        _signal(one, signal.SIGTERM)
        wait_until(lambda: one.get("/health/ready")[0] == 503)
        _signal(one, number)
        assert one.ended(timeout=5) == 128 + number
        assert _waiting(tmp_path) == []
        assert _open_rows(one) == [(0, 0)] * len(FILES)

        (tmp_path / "go").touch()
        assert one.once() == 0
        rows = assert_conserved(tmp_path, FILES)
    assert {(row["outcome"], row["attempts"]) for row in rows} == {("processed", 1)}


def test_a_signal_to_the_whole_group_counts_against_no_file(tmp_path: Path) -> None:
    """
    Commands have sessions of their own: Ctrl-C in a terminal reaches the agent alone, and drains.
    """
    with agent(tmp_path, _settings(tmp_path)) as one:
        one.start()
        _occupy(one)
        assert one.process is not None
        groups = {os.getpgid(process.pid) for process in _waiting(tmp_path)}
        assert os.getpgid(one.process.pid) not in groups
        _signal(one, signal.SIGINT)
        (tmp_path / "go").touch()
        assert one.ended() == 0
        assert one.once() == 0
        assert_conserved(tmp_path, FILES)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signals", "code", "seconds"), [(1, 74, 20), (2, 128 + signal.SIGTERM, 8)], ids=["one", "two"]
)
def test_signals_end_a_start_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: int, code: int, seconds: float
) -> None:
    """
    Recovery cannot commit, for the store is locked: one signal ends the agent once its grace and the ten seconds for last
    commits are over, two end it at once, and the next start works off what there is.
    """
    monkeypatch.setenv("PYTHONPATH", str(HELD.parents[1]))
    sign = tmp_path / "hold"
    sign.touch()
    with agent(tmp_path, _settings(tmp_path, shutdown_grace="1s")) as one:
        one.start()
        _occupy(one)
        one.kill()
        one.start(program=(sys.executable, str(HELD), str(sign)), ready=False)
        wait_until(lambda: one.log_text().count("http: listening") == 2)  # the store is open by then
        with locked(one.state):
            sign.unlink()
            wait_until(lambda: "intake paused (store)" in one.log_text(), 20)
            assert one.get("/health/ready")[0] == 503
            _signal(one, signal.SIGTERM)
            wait_until(lambda: "stopping: SIGTERM" in one.log_text())
            if signals == 2:
                _signal(one, signal.SIGTERM)
            assert one.ended(timeout=seconds) == code
        assert len(_open_rows(one)) == len(FILES)

        (tmp_path / "go").touch()
        assert one.once() == 0
        rows = assert_conserved(tmp_path, FILES)
    assert {(row["outcome"], row["attempts"]) for row in rows} == {("processed", 1)}


@pytest.mark.slow
def test_stopping_while_files_pour_in_loses_none(tmp_path: Path) -> None:
    """
    Stopped and started again and again in the middle of claims and filings.
    """
    names = [f"intent-{number}.json" for number in range(300)]
    with agent(tmp_path) as one:
        for turn in range(3):
            one.start()
            for name in names[turn * 100 : (turn + 1) * 100]:
                one.drop(name)
            assert one.stop() == 0
        assert one.once() == 0

        rows = assert_conserved(tmp_path, names)
    assert {(row["outcome"], row["attempts"]) for row in rows} == {("processed", 1)}


def _settings(tmp_path: Path, shutdown_grace: str = "30s") -> dict[str, dict[str, object]]:
    """
    Return settings by which commands run until there is a file `go`, two at a time.
    """
    wait = f'until test -e "{tmp_path}/go"; do sleep 0.02; done'
    return {
        "agent": {"max_workers": 2, "shutdown_grace": shutdown_grace},
        "processor": {"command": ["/bin/sh", "-c", wait, "{path}"]},
    }


def _occupy(one: Agent) -> None:
    """
    Have all files claimed, and two of them running.
    """
    for name in FILES:
        one.drop(name)
    wait_until(lambda: one.get("/metrics")[1]["workers"]["queue_depth"] == 4)
    wait_until(lambda: one.get("/metrics")[1]["workers"]["active_workers"] == 2)


def _signal(one: Agent, number: signal.Signals) -> None:
    assert one.process is not None
    one.process.send_signal(number)


def _open_rows(one: Agent) -> list[tuple[int, int]]:
    rows = one.rows("SELECT * FROM files WHERE outcome IS NULL")
    return [(row["attempts"], row["interruptions"]) for row in rows]


def _waiting(tmp_path: Path) -> list[psutil.Process]:
    """
    Return the commands that wait for `go`.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if f"{tmp_path}/go" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found
