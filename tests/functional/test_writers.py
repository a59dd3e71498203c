"""
Producers that are slow, rude or somebody else.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import threading
import time
from pathlib import Path

import pytest

from agents import INTENT, Agent, agent
from conservation import assert_conserved
from surroundings import AS_NOBODY, give, land_of_nobody
from waiting import wait_until

_SETTLE = 0.2
SLOW = {"agent": {"settle": "200ms", "reject_after": "1s", "scan_interval": "200ms"}}


@pytest.mark.slow
def test_a_writer_that_pauses_longer_than_settle_is_waited_for(tmp_path: Path) -> None:
    """
    As long as it has the file open, the file stays where it is; it is run once, whole (defect 17).
    """
    with agent(tmp_path, SLOW) as one:
        one.start()
        with (one.handoff / "intent-slow.json").open("wb", buffering=0) as file:
            for part in (INTENT[:20], INTENT[20:40]):
                file.write(part)
                _pass(3 * _SETTLE)
                assert one.rows() == []
            file.write(INTENT[40:])
        one.filed(1)
        one.stop()

        rows = assert_conserved(tmp_path, ["intent-slow.json"])
    assert rows[0]["outcome"] == "processed"
    assert rows[0]["sha256"] == hashlib.sha256(INTENT).hexdigest()


@pytest.mark.root
def test_a_slow_writer_of_another_user_gets_until_reject_after(tmp_path: Path) -> None:
    """
    Nobody can tell whether it is still open, but what cannot be parsed yet is not final before that.
    """
    settings = {"agent": {**SLOW["agent"], "reject_after": "2s"}}
    with land_of_nobody() as root, agent(root, settings) as one:
        give(one.handoff, one.out)
        one.start(program=AS_NOBODY)
        path = one.handoff / "intent-slow.json"
        with path.open("wb", buffering=0) as file:
            os.fchmod(file.fileno(), 0o644)  # of root, and others may read
            file.write(INTENT[:20])
            _pass(3 * _SETTLE)
            file.write(INTENT[20:])
        one.filed(1)
        one.stop()

        rows = assert_conserved(root, ["intent-slow.json"])
    assert rows[0]["outcome"] == "processed"
    assert rows[0]["sha256"] == hashlib.sha256(INTENT).hexdigest()


def test_a_writer_that_closes_and_comes_back_by_name_finds_its_file(tmp_path: Path) -> None:
    """
    Half a document waits in the handoff directory until `reject_after`, so that the other half makes it whole.
    """
    settings = {"agent": {**SLOW["agent"], "reject_after": "3s"}}
    with agent(tmp_path, settings) as one:
        one.start()
        path = one.handoff / "intent-slow.json"
        path.write_bytes(INTENT[:20])
        wait_until(one.rows)  # taken, found cut off, and given back
        wait_until(path.exists)
        with path.open("ab") as file:
            file.write(INTENT[20:])
        one.filed(1)
        one.stop()

        rows = assert_conserved(tmp_path, ["intent-slow.json"])
    assert rows[0]["outcome"] == "processed"
    assert rows[0]["sha256"] == hashlib.sha256(INTENT).hexdigest()


def test_writers_racing_the_lease_neither_kill_the_agent_nor_are_harmed(tmp_path: Path) -> None:
    """
    A lease holder is sent a signal when a writer comes; files opened again and again are filed all the same.
    """
    with agent(tmp_path, {"agent": {"settle": "0s"}}) as one:
        one.start()
        names = [f"intent-{number}.json" for number in range(40)]
        threads = [
            threading.Thread(target=_write_again_and_again, args=(one.handoff / name,)) for name in names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        one.filed(len(names))
        assert one.stop() == 0

        rows = assert_conserved(tmp_path, names)
    assert {row["outcome"] for row in rows} == {"processed"}


def test_renamed_in_copied_in_and_old_files_are_run(tmp_path: Path) -> None:
    """
    However a file comes, with whatever times it has.
    """
    with agent(tmp_path) as one:
        source = tmp_path / "source"
        source.write_bytes(INTENT)
        os.utime(source, (0, 0))
        one.start()
        one.drop("intent-renamed.json")
        shutil.copyfile(source, one.handoff / "intent-copied.json")
        shutil.copy2(source, one.handoff / "intent-old.json")
        os.utime(source, (2**32, 2**32))
        shutil.copy2(source, one.handoff / "intent-future.json")
        one.filed(4)
        one.stop()

        names = [f"intent-{how}.json" for how in ("renamed", "copied", "old", "future")]
        rows = assert_conserved(tmp_path, names)
    assert {row["outcome"] for row in rows} == {"processed"}


def test_a_file_dropped_right_after_one_was_taken_is_not_held_back(tmp_path: Path) -> None:
    """
    Events behind a move out of the directory come at once: no scan is needed, no half second passes.
    """
    with agent(tmp_path, {"agent": {"scan_interval": "1m"}}) as one:
        one.start()
        waits = []
        for number in range(20):
            began = time.monotonic()
            one.drop(f"intent-{number}.json")
            wait_until((one.processed / f"intent-{number}.json").exists, step=0.002)
            waits.append(time.monotonic() - began)
        one.stop()

        rows = assert_conserved(tmp_path, [f"intent-{number}.json" for number in range(20)])
    assert {row["found_by"] for row in rows[5:]} == {"event"}  # the first ones meet the scan at start
    assert statistics.median(waits) < 0.2


def test_the_same_name_again_while_it_runs_and_after_is_another_file(tmp_path: Path) -> None:
    """
    Neither the new content nor the old one is lost, and each is run on its own (defect 16).
    """
    contents = [INTENT.replace(b"3", str(number).encode()) for number in (1, 2, 3)]
    with agent(tmp_path, _held(tmp_path)) as one:
        one.start()
        one.drop("intent-a.json", contents[0])
        wait_until(lambda: _running(one) == 1)
        one.drop("intent-a.json", contents[1])
        wait_until(lambda: _running(one) == 2)
        (tmp_path / "go").touch()
        one.filed(2)
        one.drop("intent-a.json", contents[2])
        one.filed(3)
        one.stop()

        rows = assert_conserved(tmp_path, ["intent-a.json"] * 3)
    assert {row["sha256"] for row in rows} == {hashlib.sha256(content).hexdigest() for content in contents}
    assert len({row["target"] for row in rows}) == 3
    for row in rows:
        content = (one.processed / row["target"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row["sha256"]


def test_a_file_changed_while_it_runs_is_said_to_be(tmp_path: Path) -> None:
    """
    A writer opens the claimed file in its slot: the row has the validated content, the message the change.
    """
    with agent(tmp_path, _held(tmp_path)) as one:
        one.start()
        one.drop("intent-a.json")
        wait_until(lambda: _running(one) == 1)
        (slot,) = one.work.glob("*/*/intent-a.json")
        slot.write_bytes(b"{}")
        (tmp_path / "go").touch()
        one.filed(1)
        one.stop()

        rows = assert_conserved(tmp_path, ["intent-a.json"])
    assert rows[0]["sha256"] == hashlib.sha256(INTENT).hexdigest()
    assert "changed while it ran" in rows[0]["message"]


def test_first_come_first_served_by_ctime(tmp_path: Path) -> None:
    """
    One worker takes them in the order of their arrival, although their mtimes say the opposite.
    """
    with agent(tmp_path, {"agent": {"max_workers": 1}}) as one:
        names = [f"intent-{letter}.json" for letter in "qaxbm"]
        for age, name in enumerate(names):
            one.drop(name)
            os.utime(one.handoff / name, (1_000_000 - age, 1_000_000 - age))
            _pass(0.02)  # the kernel's time stamps are only so fine
        assert one.once() == 0

        rows = assert_conserved(tmp_path, names)
        starts = one.rows("SELECT file_number FROM attempts ORDER BY started_at")
    assert [row["name"] for row in rows] == names
    assert [row["file_number"] for row in starts] == [row["number"] for row in rows]


def _held(tmp_path: Path) -> dict[str, dict[str, object]]:
    """
    Return settings by which commands run until there is a file `go`.
    """
    wait = f'until test -e "{tmp_path}/go"; do sleep 0.02; done'
    return {"processor": {"command": ["/bin/sh", "-c", wait, "{path}"]}}


def _running(one: Agent) -> int:
    count: int = one.get("/metrics")[1]["workers"]["active_workers"]
    return count


def _pass(seconds: float) -> None:
    threading.Event().wait(seconds)


def _write_again_and_again(path: Path) -> None:
    """
    Open and close a file that is whole at every moment, until it is taken.
    """
    path.write_bytes(INTENT)
    for _ in range(200):
        try:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            return
        os.write(fd, b" ")
        os.close(fd)
