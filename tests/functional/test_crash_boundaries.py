"""
`kill -9` between any two steps of the agent: after the next start every file has ended once.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents import INTENT, PROGRAM, Agent, agent
from conservation import assert_conserved
from waiting import wait_until

FAULTY = (sys.executable, str(Path(__file__).with_name("faulty_agent.py")))
KILLED = -signal.SIGKILL

#: Says when it runs, and does what the file's name asks for. Both drops of `intent-twice.json` happen whatever dies:
#: the second one is a rename, so it happens once.
COMMAND = """
out=$1 name=$2
say() { echo "$1 $CONDUCTOR_FILE_ID $CONDUCTOR_ATTEMPT" >> "$out/log"; }
say start
case $name in
*bad*) echo "no such cell"; exit 1 ;;
*again*) [ "$CONDUCTOR_ATTEMPT" -gt 1 ] || exit 75 ;;
*slow*) sleep 0.3 ;;
*twice*) mv "$out/second.json" "$3/intent-twice.json" 2>/dev/null ;;
esac
say end
"""
DROPPED = {
    "intent-good.json": INTENT,
    "intent-bad.json": INTENT,
    "intent-again.json": INTENT,
    "intent-rejected.json": b'{"intent_type": "scaling"}',
    "intent-slow.json": INTENT,
    "intent-twice.json": INTENT,
}
ENDS = {
    "intent-good.json": "processed",
    "intent-bad.json": "failed",
    "intent-again.json": "processed",
    "intent-rejected.json": "rejected",
    "intent-slow.json": "processed",
    "intent-twice.json": "processed",
}

REPRESENTATIVE = ["after-claim:2", "before-commit:3", "after-filing", "after-spawned"]
THOROUGH = [
    "before-new-store",
    "after-new-store",
    "before-clear-all",
    "after-clear-all",
    "before-commit",
    "after-commit",
    "after-commit:2",
    "before-commit:4",
    "after-commit:4",
    "before-claim",
    "before-claim:4",
    "before-running",
    "after-running",
    "before-spawned",
    "before-clear",
    "after-clear:3",
    "before-report",
    "after-report:4",
    "before-status",
    "before-status-name",
    "before-status-name:4",
    "after-status",
    "before-filing",
    "before-filing:3",
    "after-filing:4",
    "before-syncfs",
    "after-syncfs",
    "before-marked",
    "after-marked",
    "before-link:1",
    "after-link:1",
    "after-link:8",
    "after-link:9",
]
IN_RECOVERY = [
    "before-recovery",
    "after-recovery",
    "before-commit",
    "after-commit",
    "before-filing",
    "after-filing",
    "before-clear-all",
    "after-clear-all",
    "before-marked",
]


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[Agent]:
    script = tmp_path / "command.sh"
    script.write_text(COMMAND)
    command = ["/bin/sh", str(script), "{out_dir}", "{name}", str(tmp_path / "handoff"), "{path}"]
    with agent(tmp_path, {"processor": {"command": command}, "agent": {"max_workers": 2}}) as one:
        (one.out / "second.json").write_bytes(INTENT)
        yield one


@pytest.mark.parametrize(
    "step", [*REPRESENTATIVE, *(pytest.param(s, marks=pytest.mark.slow) for s in THOROUGH)]
)
def test_killed_at_a_step_every_file_still_ends_once(subject: Agent, step: str) -> None:
    """
    One start after the kill brings every file to its one end with its status file (defects 18 and 20), and what was
    reported durably is not run again (defect 19).
    """
    _drop_all(subject)
    assert _run_until(subject, step) == KILLED
    death = _look(subject)

    # The file system that knows no renameat2 is still the same one.
    again = (*FAULTY, f"{step}000") if "link" in step else PROGRAM
    assert subject.once(program=again) in {0, 1}  # 1 if those that fail were not yet filed
    _assert_all_ended(subject)
    _assert_runs(subject, death)


@pytest.mark.slow
@pytest.mark.parametrize("step", IN_RECOVERY)
def test_killed_again_while_recovering_every_file_still_ends_once(subject: Agent, step: str) -> None:
    """Recovery that is cut short is carried on by the next one."""
    _drop_all(subject)
    assert _run_until(subject, "before-filing:3") == KILLED
    first = _look(subject)
    assert _run_until(subject, step) == KILLED
    second = _look(subject)

    assert subject.once() in {0, 1}
    _assert_all_ended(subject)
    _assert_runs(subject, first, second)


def test_the_counters_shown_are_those_of_the_rows(subject: Agent) -> None:
    """After a kill and a restart `/metrics` goes on where the rows are."""
    _drop_all(subject)
    assert _run_until(subject, "after-commit:4") == KILLED
    subject.start()
    subject.filed(len(DROPPED) + 1)
    shown = subject.get("/metrics")[1]["performance"]
    wait_until(lambda: b"\nconductor_loop_unaccounted_files 0.0\n" in subject.get("/metrics/prometheus")[1])

    assert subject.stop() == 0
    _assert_all_ended(subject)
    assert shown["files_processed_total"] == 5
    assert shown["files_failed_total"] == 1
    assert shown["validation_failures_total"] == 1
    assert shown["retry_attempts_total"] == 1


def _drop_all(subject: Agent) -> None:
    for name, content in DROPPED.items():
        subject.drop(name, content)


def _run_until(subject: Agent, step: str) -> int:
    """
    Run the agent until it dies at `step`.
    """
    subject.start(program=(*FAULTY, step), ready=False)
    return subject.ended(15)


def _assert_all_ended(subject: Agent) -> None:
    rows = assert_conserved(subject.root, [*DROPPED, "intent-twice.json"])
    assert {row["name"]: row["outcome"] for row in rows} == ENDS
    assert {row["attempts"] for row in rows if row["name"] == "intent-again.json"} == {2}


@dataclass(frozen=True)
class Death:
    """
    What was known at a kill.

    Attributes:
        durable: (id, attempt) of the runs that are in the store, so that they must not begin again.
        begun: how many runs had begun.
    """

    durable: set[tuple[str, str]]
    begun: int


def _look(subject: Agent) -> Death:
    if not (subject.state / "history.db").exists():
        return Death(set(), 0)
    store_id = subject.rows("SELECT store_id FROM meta")[0]["store_id"]
    attempts = subject.rows("SELECT file_number, attempt FROM attempts")
    durable = {(f"{store_id}-{one['file_number']}", str(one["attempt"])) for one in attempts}
    return Death(durable, len(_runs(subject)))


def _assert_runs(subject: Agent, *deaths: Death) -> None:
    runs = _runs(subject)

    for death in deaths:
        assert not death.durable.intersection(runs[death.begun :])
    assert max(Counter(runs).values()) <= len(deaths) + 1


def _runs(subject: Agent) -> list[tuple[str, str]]:
    """
    Return (id, attempt) of every run that began, in that order.
    """
    log = subject.out / "log"
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [(file_id, attempt) for word, file_id, attempt in lines if word == "start"]
