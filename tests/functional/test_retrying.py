"""
`kill -9` between any two steps of a retry: after the next start the file lies in one place, and has ended once more or
not begun to.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents import INTENT, PROGRAM, Agent, agent
from conservation import assert_conserved

FAULTY = (sys.executable, str(Path(__file__).with_name("faulty_agent.py")))
RETRYING = (sys.executable, str(Path(__file__).with_name("retrying_agent.py")), "1")
KILLED = -signal.SIGKILL
NAME, OTHER = "intent-a.json", "intent-b.json"
MENDED = b'{"intent_type": "scaling", "target": "mended", "namespace": "ran", "replicas": 3}'

#: Says which file it was given, and fails until that is mended.
COMMAND = 'echo "$CONDUCTOR_FILE_ID" >> "$1/log"; grep -q mended "$2"'

REPRESENTATIVE = ["after-entry", "after-claim", "after-entry:2"]
THOROUGH = [
    "before-entry",
    "before-claim",
    "before-error-log",
    "after-error-log",
    "before-running",
    "after-spawned",
    "before-clear",
    "before-report",
    "before-entry:2",
    "before-status",
    "after-status",
    "before-filing",
    "after-filing",
    "before-syncfs",
    "after-syncfs",
    "before-marked",
    "before-link",
    "after-link",
]
IN_RECOVERY = [
    "before-recovery",
    "before-claim",
    "after-claim",
    "before-error-log",
    "after-error-log",
    "before-entry",
    "after-entry",
    "after-filing",
]


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[Agent]:
    """
    Give an agent with two failed files, the first of which will be tried again.
    """
    command = ["/bin/sh", "-c", COMMAND, "sh", "{out_dir}", "{path}"]
    with agent(tmp_path, {"processor": {"command": command}}) as one:
        one.drop(NAME)
        one.drop(OTHER)
        assert one.once() == 1
        yield one


def mend(subject: Agent) -> None:
    """
    Write another file in place of the failed one, as editors do.
    """
    (subject.root / "new").write_bytes(MENDED)
    (subject.root / "new").replace(subject.failed / NAME)


def run_until(subject: Agent, step: str, *, program: tuple[str, ...] = RETRYING) -> int:
    """
    Run the agent until it dies at `step`.
    """
    subject.start(program=(*program, step), ready=False)
    return subject.ended(15)


def recover(subject: Agent, step: str) -> None:
    # The file system that knows no renameat2 is still the same one.
    assert subject.once(program=(*FAULTY, f"{step}:999") if "link" in step else PROGRAM) in {0, 1}


def assert_ended(subject: Agent, *, mended: bool) -> list[dict[str, Any]]:
    """
    Check that both files are where they belong; return the rows.
    """
    rows = assert_conserved(subject.root, [NAME, OTHER])
    assert (subject.failed / OTHER).read_bytes() == INTENT
    if len(rows) == 3:
        assert (rows[2]["retry_of"], rows[2]["found_by"], rows[2]["attempts"]) == (1, "retry", 1)
        assert (rows[2]["outcome"], rows[2]["target"]) == ("processed" if mended else "failed", NAME)
    place = subject.processed if mended and len(rows) == 3 else subject.failed
    assert (place / NAME).read_bytes() == (MENDED if mended else INTENT)
    return rows


def runs(subject: Agent) -> Counter[str]:
    """
    Return how often the command was given each file, by the end of its id.
    """
    return Counter(line.rpartition("-")[2] for line in (subject.out / "log").read_text().splitlines())


@pytest.mark.parametrize("mended", [True, False], ids=["mended", "failing again"])
@pytest.mark.parametrize(
    "step", [*REPRESENTATIVE, *(pytest.param(s, marks=pytest.mark.slow) for s in THOROUGH)]
)
def test_killed_at_a_step_of_a_retry_the_file_still_ends_once(
    subject: Agent, step: str, mended: bool
) -> None:
    """It is never in two places, is not run again once its end is durable, and leaves no error log behind."""
    if mended:
        mend(subject)
    assert run_until(subject, step) == KILLED
    durable = len([row for row in subject.rows() if row["retry_of"] and row["outcome"]])
    ran = runs(subject)["3"]

    recover(subject, step)
    rows = assert_ended(subject, mended=mended)
    assert len(rows) == (2 if step == "before-entry" else 3)
    assert runs(subject)["3"] == (ran if durable else ran + len(rows) - 2)


@pytest.mark.slow
@pytest.mark.parametrize("mended", [True, False], ids=["mended", "failing again"])
@pytest.mark.parametrize("step", IN_RECOVERY)
def test_killed_again_while_recovering_the_file_still_ends_once(
    subject: Agent, step: str, mended: bool
) -> None:
    """A claim from failed/ that recovery carries out can be cut short as well."""
    if mended:
        mend(subject)
    assert run_until(subject, "after-entry") == KILLED
    assert run_until(subject, step, program=FAULTY) == KILLED

    recover(subject, step)
    assert len(assert_ended(subject, mended=mended)) == 3


@pytest.mark.slow
def test_retry_that_was_never_entered_can_be_asked_for_again(subject: Agent) -> None:
    """Who got no answer looks it up, and asks again."""
    mend(subject)
    assert run_until(subject, "before-entry") == KILLED
    assert run_until(subject, "after-filing") == KILLED

    recover(subject, "after-filing")
    assert len(assert_ended(subject, mended=True)) == 3


@pytest.mark.slow
def test_file_taken_away_after_the_kill_ends_as_vanished(subject: Agent) -> None:
    """Nobody knows where it went; another file of that name is not taken for it."""
    assert run_until(subject, "after-entry") == KILLED
    (subject.failed / NAME).rename(subject.root / "away")
    (subject.failed / f"{NAME}.error.log").rename(subject.root / "away.error.log")
    (subject.failed / NAME).write_bytes(INTENT)

    recover(subject, "after-entry")
    rows = assert_conserved(subject.root, [NAME, OTHER], foreign=[f"failed/{NAME}"])
    assert [row["outcome"] for row in rows] == ["failed", "failed", "vanished"]
