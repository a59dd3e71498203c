"""
Directories that are taken away, put back, or closed, while the agent works in them.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from agents import INTENT, Agent, agent
from conservation import assert_conserved
from surroundings import AS_NOBODY, give, land_of_nobody
from waiting import wait_until


def test_a_renamed_handoff_directory_takes_its_work_with_it(tmp_path: Path) -> None:
    """
    What is in hand ends in the old directories, what comes to a new one at the path ends there.
    """
    old = tmp_path / "old"
    with agent(tmp_path, _held(tmp_path)) as one:
        one.start()
        one.drop("intent-old.json")
        wait_until(lambda: _running(one) == 1)
        one.handoff.rename(old)
        wait_until(lambda: "handoff" in _paused(one))
        assert one.get("/health")[1]["status"] != "healthy"

        one.handoff.mkdir()
        one.drop("intent-new.json")
        wait_until(lambda: _running(one) == 2)
        assert _paused(one) == {}
        (tmp_path / "go").touch()
        one.filed(1)
        wait_until((old / "processed" / "intent-old.json").exists)
        one.stop()

        # What is true of the new directory; the old file is not there, but its row is like any other.
        rows = assert_conserved(tmp_path, ["intent-old.json", "intent-new.json"], gone={1})
    assert [row["outcome"] for row in rows] == ["processed", "processed"]
    (status,) = (old / "status").iterdir()
    assert status.name == rows[0]["status_name"]
    assert json.loads(status.read_bytes())["filed_as"] == "intent-old.json"
    assert [path.name for path in (old / "processed").iterdir()] == ["intent-old.json"]
    assert not list((old / "failed").iterdir())
    assert not list((old / "work").rglob("intent-*"))
    assert not list(old.glob("intent-*"))


def test_a_handoff_directory_that_was_only_away_is_used_again(tmp_path: Path) -> None:
    """
    Renamed and renamed back, nothing is lost.
    """
    with agent(tmp_path) as one:
        one.start()
        one.handoff.rename(tmp_path / "away")
        wait_until(lambda: "handoff" in _paused(one))
        (tmp_path / "away" / "intent-a.json").write_bytes(INTENT)
        (tmp_path / "away").rename(one.handoff)
        one.filed(1)
        one.drop("intent-b.json")
        one.filed(2)
        one.stop()

        assert_conserved(tmp_path, ["intent-a.json", "intent-b.json"])


def test_a_deleted_handoff_directory_pauses_until_there_is_one_again(tmp_path: Path) -> None:
    """
    With all that was in it: the file in hand is entered as gone, and the agent goes on in the new directory.
    """
    with agent(tmp_path, _held(tmp_path)) as one:
        one.start()
        one.drop("intent-lost.json")
        wait_until(lambda: _running(one) == 1)
        shutil.rmtree(one.handoff)
        wait_until(lambda: "handoff" in _paused(one))
        assert not one.handoff.exists()  # an operator who removes it does not want it back from us

        one.handoff.mkdir()
        (tmp_path / "go").touch()
        one.drop("intent-a.json")
        wait_until((one.processed / "intent-a.json").exists)
        wait_until(lambda: len(one.rows("SELECT * FROM files WHERE filed_at IS NOT NULL")) == 2, 15)
        wait_until(lambda: one.get("/health")[1]["status"] == "healthy")
        assert one.stop() == 0

        assert_conserved(tmp_path, gone={1})


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["processed", "failed", "status"])
def test_a_deleted_folder_is_made_again(tmp_path: Path, folder: str) -> None:
    """
    Behind the agent's back: what is to be filed there waits a second, then is.
    """
    with agent(tmp_path) as one:
        one.start()
        wait_until((one.handoff / folder).exists)
        (one.handoff / folder).rmdir()
        one.drop("intent-good.json")
        one.drop("intent-bad.json", b"{}")
        one.filed(2)
        wait_until(lambda: one.get("/health")[1]["status"] == "healthy")
        one.stop()

        assert_conserved(tmp_path, ["intent-good.json", "intent-bad.json"])


@pytest.mark.slow
@pytest.mark.parametrize("what", ["agent/0", "agent", "."], ids=["slot", "slots", "work"])
def test_a_deleted_slot_or_work_directory_is_made_again(tmp_path: Path, what: str) -> None:
    """
    New files are claimed all the same.
    """
    with agent(tmp_path) as one:
        one.start()
        one.drop("intent-a.json")
        one.filed(1)
        shutil.rmtree(os.path.normpath(one.work / what))
        one.drop("intent-b.json")
        one.filed(2)
        wait_until(lambda: one.get("/health")[1]["status"] == "healthy")
        one.stop()

        assert_conserved(tmp_path, ["intent-a.json", "intent-b.json"])


def test_a_file_deleted_from_its_slot_while_it_runs_is_entered_and_said(tmp_path: Path) -> None:
    """
    Its row ends, its slot is used again, nothing stays unaccounted for.
    """
    with agent(tmp_path, _held(tmp_path)) as one:
        one.start()
        one.drop("intent-gone.json")
        wait_until(lambda: _running(one) == 1)
        next(one.work.glob("*/*/intent-gone.json")).unlink()
        one.drop("intent-b.json")
        (tmp_path / "go").touch()
        one.filed(1)
        wait_until(lambda: len(one.rows("SELECT * FROM files WHERE filed_at IS NOT NULL")) == 2)
        one.stop()

        assert_conserved(tmp_path, ["intent-gone.json", "intent-b.json"], gone={1})
    assert "intent-gone.json" in one.log_text()


def test_files_put_into_work_by_somebody_are_adopted_at_the_next_start(tmp_path: Path) -> None:
    """
    While it runs they are reported as unaccounted for; odd things beside them stop nothing.
    """
    with agent(tmp_path) as one:
        one.start()
        one.drop("intent-a.json")
        one.filed(1)
        (one.work / "agent" / "7").mkdir()
        (one.work / "agent" / "7" / "intent-stray.json").write_bytes(INTENT)
        (one.work / "agent" / "notes").mkdir()
        (one.work / "README").write_text("hello")
        wait_until(lambda: one.get("/health")[1]["components"]["state_manager"] == "unhealthy")
        assert b"conductor_loop_unaccounted_files 2" in one.get("/metrics/prometheus")[1]
        one.stop()
        (one.work / "README").unlink()  # in no slot: it is counted, and nothing is done with it
        assert one.once() == 0

        rows = assert_conserved(tmp_path, ["intent-a.json", "intent-stray.json"])
    assert rows[1]["found_by"] == "recovery"


@pytest.mark.root
def test_a_handoff_directory_made_unreadable_pauses_and_comes_back(tmp_path: Path) -> None:
    """
    For a user who is not allowed everything: said once, not every second, and mended by chmod alone.
    """
    with land_of_nobody() as root, agent(root, _held(root)) as one:
        give(one.handoff, one.out)
        one.start(program=AS_NOBODY)
        one.drop("intent-a.json")
        wait_until(lambda: _running(one) == 1)
        one.handoff.chmod(0)
        (one.handoff / "intent-b.json").write_bytes(INTENT)
        wait_until(lambda: "handoff" in _paused(one))
        said = [_said(one) for _ in range(3) if not _wait_a_tick(one)]
        (root / "go").touch()
        assert said[0] == said[-1], one.log_text()

        one.handoff.chmod(0o770)
        one.filed(2)
        assert one.stop() == 0
        assert_conserved(root, ["intent-a.json", "intent-b.json"])


@pytest.mark.root
def test_a_directory_in_work_that_we_may_not_read_stops_nothing(tmp_path: Path) -> None:
    """
    Neither at the start nor later: somebody's `lost+found` is none of our business.
    """
    with land_of_nobody() as root, agent(root) as one:
        give(one.handoff, one.out)
        one.work.mkdir()
        give(one.work)
        (one.work / "lost+found").mkdir(mode=0o700)
        one.start(program=AS_NOBODY)
        one.drop("intent-a.json")
        one.filed(1)
        (one.work / "agent" / "99").mkdir(mode=0o700)
        one.drop("intent-b.json")
        one.filed(2)
        assert one.stop() == 0
        assert_conserved(root, ["intent-a.json", "intent-b.json"])


def _held(tmp_path: Path) -> dict[str, dict[str, object]]:
    """
    Return settings by which commands run until there is a file `go`.
    """
    wait = f'until test -e "{tmp_path}/go"; do sleep 0.02; done'
    return {"processor": {"command": ["/bin/sh", "-c", wait, "{path}"]}}


def _running(one: Agent) -> int:
    count: int = one.get("/metrics")[1]["workers"]["active_workers"]
    return count


def _paused(one: Agent) -> dict[str, object]:
    paused: dict[str, object] = one.get("/health")[1]["details"]["paused"]
    return paused


def _said(one: Agent) -> int:
    return one.log_text().count("WARNING")


def _wait_a_tick(one: Agent) -> None:
    """
    Wait for more than a second of the agent's own uptime.
    """
    began = one.get("/health")[1]["uptime"]
    wait_until(lambda: one.get("/health")[1]["uptime"] != began)
