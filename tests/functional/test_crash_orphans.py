"""
What a killed agent left running is ended before its file runs again; dying on a file counts, an orderly stop does not.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agents import Agent, agent
from conservation import assert_conserved
from waiting import wait_until

#: Leaves a grandchild in a session of its own; neither listens to SIGTERM. Each says its pid, and the first thing
#: that a run does is to look whether anybody of an earlier one is left. Runs for ever if `hang` is there.
COMMAND = """
out=$1
trap '' TERM
for pid in $(cat "$out"/pid.* 2>/dev/null); do
    read -r _ _ state _ 2>/dev/null < "/proc/$pid/stat" && [ "$state" != Z ] && echo "$pid" >> "$out/met"
done
echo $CONDUCTOR_ATTEMPT >> "$out/runs"
setsid sh -c 'trap "" TERM; echo $$ > "$0/new.g$$"; mv "$0/new.g$$" "$0/pid.g$$"; exec sleep 600' "$out" &
echo $$ > "$out/new.$$"; mv "$out/new.$$" "$out/pid.$$"
[ -e "$out/hang" ] && while :; do sleep 1; done
exit 0
"""


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[Agent]:
    script = tmp_path / "command.sh"
    script.write_text(COMMAND)
    settings: dict[str, dict[str, object]] = {
        "processor": {"command": ["/bin/sh", str(script), "{out_dir}", "{path}"], "kill_grace": "100ms"},
        "agent": {"shutdown_grace": "100ms"},
    }
    with agent(tmp_path, settings) as one:
        (one.out / "hang").touch()
        yield one
        for pid in _pids(one):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_orphans_are_dead_before_their_file_runs_again(subject: Agent) -> None:
    """The command ignores SIGTERM and its grandchild has left the session: both are ended by the next start."""
    subject.drop("intent-1.json")
    subject.start()
    left = _running(subject, runs=1)
    subject.kill()
    assert all(_alive(pid) for pid in left)

    (subject.out / "hang").unlink()
    assert subject.once() == 0
    assert not (subject.out / "met").exists()
    assert not any(_alive(pid) for pid in left)
    (row,) = assert_conserved(subject.root, ["intent-1.json"])
    assert (row["interruptions"], row["attempts"]) == (1, 1)
    (cut_off,) = _interruptions(subject)
    assert cut_off["cause"] == "death"
    assert row["discovered_at"] + row["wait_us"] == cut_off["started_at"], (
        "the wait ends with the first start"
    )


@pytest.mark.slow
def test_a_file_that_the_agent_dies_on_three_times_is_poison(subject: Agent) -> None:
    """The fourth start files it as failed, without running it; its last processes are ended all the same."""
    subject.drop("intent-1.json")
    for runs in (1, 2, 3):
        subject.start()
        _running(subject, runs=runs)
        subject.kill()
    assert subject.once() == 1

    (row,) = assert_conserved(subject.root, ["intent-1.json"])
    assert (row["outcome"], row["kind"], row["attempts"]) == ("failed", "poison", 0)
    assert "died 3 times" in row["message"]
    assert len(_lines(subject, "runs")) == len(_interruptions(subject)) == 3
    assert not any(_alive(pid) for pid in _pids(subject))


@pytest.mark.slow
def test_an_orderly_stop_is_no_interruption_and_no_attempt(subject: Agent) -> None:
    """However often the agent is stopped while a file runs, that is not held against the file."""
    subject.drop("intent-1.json")
    for runs in (1, 2, 3):
        subject.start()
        left = _running(subject, runs=runs)
        assert subject.stop() == 0
        assert not any(_alive(pid) for pid in left)
        (row,) = subject.rows()
        assert (row["outcome"], row["attempts"], row["interruptions"]) == (None, 0, 0)

    (subject.out / "hang").unlink()
    assert subject.once() == 0
    (row,) = assert_conserved(subject.root, ["intent-1.json"])
    assert (row["attempts"], row["interruptions"]) == (1, 0)
    assert _lines(subject, "runs") == ["1"] * 4
    cut_off = _interruptions(subject)
    assert [one["cause"] for one in cut_off] == ["stop"] * 3
    assert row["discovered_at"] + row["wait_us"] == cut_off[0]["started_at"], (
        "the wait ends with the first start"
    )


@pytest.mark.slow
def test_a_second_signal_is_no_interruption_either(subject: Agent) -> None:
    """Stopped at once, everything that runs is killed, and the next start runs the file as if for the first time."""
    subject.drop("intent-1.json")
    subject.config.write_text(
        subject.config.read_text().replace('shutdown_grace = "100ms"', 'shutdown_grace = "60s"')
    )
    subject.start()
    left = _running(subject, runs=1)
    assert subject.process is not None
    subject.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "stopping: SIGTERM" in subject.log_text())
    assert subject.stop() == 128 + signal.SIGTERM
    assert not any(_alive(pid) for pid in left)

    (subject.out / "hang").unlink()
    assert subject.once() == 0
    (row,) = assert_conserved(subject.root, ["intent-1.json"])
    assert (row["attempts"], row["interruptions"]) == (1, 0)


def _running(subject: Agent, *, runs: int) -> list[int]:
    """
    Wait until the command runs for the `runs`-th time with its grandchild; return the pids of all runs.
    """
    wait_until(lambda: len(_pids(subject)) == 2 * runs, timeout=20)
    return _pids(subject)


def _interruptions(subject: Agent) -> list[dict[str, Any]]:
    return subject.rows("SELECT * FROM interruptions ORDER BY started_at")


def _pids(subject: Agent) -> list[int]:
    return [int(path.read_text()) for path in subject.out.glob("pid.*")]


def _lines(subject: Agent, name: str) -> list[str]:
    return (subject.out / name).read_text().split()


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
