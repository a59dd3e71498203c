"""
A copy of the database is put back: what it does not know is neither lost nor taken for something else.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents import PROGRAM, Agent, agent
from conservation import assert_conserved
from waiting import wait_until

#: Says the id of each run and what its file is called; does not end while there is a file `hang`.
COMMAND = 'echo "$1 $2" >> "$0/runs"; while [ -e "$0/hang" ]; do sleep 0.05; done'

pytestmark = pytest.mark.slow


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[Agent]:
    command = ["/bin/sh", "-c", COMMAND, "{out_dir}", "{id}", "{name}", "{path}"]
    with agent(tmp_path, {"processor": {"command": command}, "agent": {"max_workers": 2}}) as one:
        yield one
        (one.out / "hang").unlink(missing_ok=True)


def back_up(subject: Agent) -> Path:
    copy = subject.root / "copy.db"
    command = [*PROGRAM, "--config", str(subject.config), "db", "backup", str(copy)]
    subprocess.run(command, check=True, capture_output=True)
    return copy


def put_back(subject: Agent, copy: Path) -> None:
    """
    As the page for operators says.
    """
    (subject.root / "before").mkdir()
    for path in subject.state.glob("history.db*"):
        path.rename(subject.root / "before" / path.name)
    shutil.copy(copy, subject.state / "history.db")


def drop(subject: Agent, *names: str) -> None:
    """
    Have files worked on, the last one of them done.
    """
    for name in names:
        subject.drop(name)
    wait_until(lambda: all(any(subject.processed.glob(f"{Path(name).stem}*")) for name in names), timeout=20)


def told(subject: Agent) -> dict[str, str]:
    """
    Return the names of files by the ids in their status files.
    """
    documents = [json.loads(path.read_bytes()) for path in subject.status.glob("*.status")]
    return {document["id"]: document["intent_file"] for document in documents}


def runs(subject: Agent) -> list[tuple[str, str]]:
    lines = (subject.out / "runs").read_text().splitlines()
    return [(line.split()[0], line.split()[1]) for line in lines]


def test_no_id_is_given_out_twice_and_no_file_is_lost(subject: Agent) -> None:
    """
    Files that were filed since the copy stay where they are, one that was in its slot is run as a new one.
    """
    subject.start()
    drop(subject, "intent-1.json", "intent-2.json")
    copy = back_up(subject)
    drop(subject, "intent-3.json", "intent-4.json")
    lost = {file_id for file_id, name in told(subject).items() if name in {"intent-3.json", "intent-4.json"}}
    (subject.out / "hang").touch()
    subject.drop("intent-5.json")
    wait_until(lambda: len(runs(subject)) == 5)
    subject.kill()
    (subject.out / "hang").unlink()
    put_back(subject, copy)

    subject.start()
    drop(subject, "intent-5.json", "intent-6.json")
    warnings = subject.get("/health")[1]["warnings"]
    subject.stop()

    (said,) = [warning for warning in warnings if "put back from a copy" in warning]
    next_number = int(re.findall(r"ids go on at (\d+)$", said)[0])
    names = ["intent-1.json", "intent-2.json", "intent-5.json", "intent-5.json", "intent-6.json"]
    found = assert_conserved(subject.root, names, forgotten=lost, left_out=next_number - 1 - 2)
    assert [row["number"] for row in found] == [1, 2, next_number, next_number + 1, next_number + 2]
    assert found[2]["found_by"] == "recovery"
    assert said in subject.log_text()
    ids = [file_id for file_id, _ in runs(subject)]
    assert len(set(ids)) == len(ids) == 8


def test_file_in_a_slot_is_not_taken_for_one_that_the_copy_knows_there(subject: Agent) -> None:
    """
    Of the same name in the same slot: it has been another file's since.
    """
    subject.start()
    (subject.out / "hang").touch()
    subject.drop("intent-1.json")
    wait_until((subject.out / "runs").exists)
    copy = back_up(subject)
    (subject.out / "hang").unlink()
    subject.filed(1)
    (subject.out / "hang").touch()
    subject.drop(
        "intent-1.json", b'{"intent_type": "scaling", "target": "b", "namespace": "r", "replicas": 12}'
    )
    wait_until(lambda: len(runs(subject)) == 2)
    first, second = subject.rows()
    assert first["slot"] == second["slot"], "not the case this test is about"
    subject.kill()
    (subject.out / "hang").unlink()
    put_back(subject, copy)

    assert subject.once() == 0

    known, adopted = subject.rows()
    assert (known["outcome"], adopted["outcome"], adopted["found_by"]) == (
        "vanished",
        "processed",
        "recovery",
    )
    ids = [file_id for file_id, _ in runs(subject)]
    assert len(set(ids)) == len(ids) == 3
    assert len(list(subject.processed.iterdir())) == 2
