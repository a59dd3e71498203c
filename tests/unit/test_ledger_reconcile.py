"""
The conservation law, taken from the directories.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from conductor_loop.ledger.handoff import HandoffKeeper
from ledgers import Bench, paths_below, running
from waiting import wait_until


def unaccounted(bench: Bench) -> int:
    return bench.live.snapshot().gauges.unaccounted


def state(bench: Bench) -> tuple[str, str]:
    condition = bench.live.snapshot().conditions["state_manager"]
    return str(condition.state), condition.message


def checked_twice(bench: Bench) -> None:
    """
    Wait until two whole checks took place.
    """
    done: list[int] = []
    check = bench.ledger._reconciler.check
    bench.ledger._reconciler.check = lambda places: (check(places), done.append(1))  # type: ignore[method-assign,assignment,func-returns-value]
    wait_until(lambda: len(done) >= 2)
    bench.ledger._reconciler.check = check  # type: ignore[method-assign]


def test_files_in_every_state_are_accounted_for(tmp_path: Path) -> None:
    """
    Queued, running, filed.
    """
    with running(tmp_path, scan_interval=0.02) as bench:
        bench.process("intent-a.json")
        bench.offer("intent-b.json", "intent-c.json")
        job = bench.take()
        checked_twice(bench)

        assert unaccounted(bench) == 0
        assert state(bench) == ("healthy", "")
        bench.report(job)


def test_file_without_a_row_is_counted_and_twice_is_unhealthy(tmp_path: Path) -> None:
    """
    It is named, and when it is gone all is well.
    """
    with running(tmp_path, scan_interval=0.02) as bench:
        slot = bench.process("intent-a.json").slot
        stray = bench.places.paths.work / "agent" / str(slot) / "stray\n.json"
        stray.write_text("")
        wait_until(lambda: unaccounted(bench) == 1)
        wait_until(lambda: state(bench)[0] == "unhealthy")
        assert f"agent/{slot}/stray\\n.json" in state(bench)[1]

        stray.unlink()
        wait_until(lambda: state(bench) == ("healthy", ""))
        assert unaccounted(bench) == 0


def test_row_without_a_file_is_counted(tmp_path: Path) -> None:
    """
    Somebody took the file out of its slot.
    """
    with running(tmp_path, scan_interval=0.02) as bench:
        bench.offer("intent-a.json")
        job = bench.take()
        (bench.places.paths.work / job.relative).unlink()
        wait_until(lambda: unaccounted(bench) == 1)
        wait_until(lambda: state(bench)[0] == "unhealthy")
        assert job.relative in state(bench)[1]

        bench.report(job)
        bench.wait_filed(job)
        wait_until(lambda: unaccounted(bench) == 0)


def test_first_sight_is_no_alarm(tmp_path: Path) -> None:
    """
    Only the same file in two checks is.
    """
    with running(tmp_path, scan_interval=3600) as bench:
        check = bench.ledger._reconciler.check
        folder = bench.places.paths.work / "agent" / "0"
        wait_until(lambda: "state_manager" in bench.live.snapshot().conditions)
        folder.mkdir()
        (folder / "one").write_text("")
        check([bench.places])
        assert (unaccounted(bench), state(bench)[0]) == (1, "healthy")

        (folder / "one").rename(folder / "two")
        check([bench.places])
        assert (unaccounted(bench), state(bench)[0]) == (1, "healthy")
        check([bench.places])
        assert (unaccounted(bench), state(bench)[0]) == (1, "unhealthy")
        (folder / "two").unlink()


def test_files_beside_the_slots_are_counted_and_directories_are_not_ours(tmp_path: Path) -> None:
    """
    No row knows them, and no recovery takes them.
    """
    with running(tmp_path, scan_interval=0.02) as bench:
        work = bench.places.paths.work
        (work / "README").write_text("")
        (work / "agent" / "notes").mkdir(parents=True)
        (work / "agent" / "notes" / "x").write_text("")
        (work / "agent" / "7").write_text("")
        checked_twice(bench)

        assert unaccounted(bench) == 2
        assert state(bench)[0] == "unhealthy"
        assert "README" in state(bench)[1]


def test_work_directory_that_goes_away_does_not_stop_the_ledger(tmp_path: Path) -> None:
    """
    With nothing in it nothing is missing.
    """
    with running(tmp_path, scan_interval=0.02) as bench:
        bench.process("intent-a.json")
        shutil.rmtree(bench.places.paths.work)
        checked_twice(bench)

        assert unaccounted(bench) == 0


def test_two_handoff_directories_over_one_work_directory(tmp_path: Path) -> None:
    """
    The handoff directory was replaced while a file was in hand: neither's files are strays to the other.
    """
    paths = dataclasses.replace(paths_below(tmp_path), work=tmp_path / "work")
    with running(tmp_path, paths=paths, scan_interval=0.02) as bench:
        bench.offer("intent-old.json")
        old = bench.take()
        paths.handoff.rename(tmp_path / "handoff.old")
        paths.handoff.mkdir()
        keeper = HandoffKeeper(ledger=bench.ledger, path=paths.handoff)
        assert keeper.on_replaced("replaced") is not None
        bench.offer("intent-new.json")
        new = bench.take()
        checked_twice(bench)

        assert unaccounted(bench) == 0
        assert state(bench) == ("healthy", "")
        bench.report(old)
        bench.report(new)
        bench.wait_filed(old, new)
