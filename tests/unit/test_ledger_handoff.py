"""
The handoff directory deleted, renamed, replaced: files in hand end in the old places, new ones in the new.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor_loop.ledger import claims, filing
from conductor_loop.ledger.handoff import HandoffKeeper
from conductor_loop.model import PauseReason
from ledgers import Bench, running
from waiting import wait_until


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(claims, "_AGAIN", 0.02)
    monkeypatch.setattr(filing, "_AGAIN", 0.02)
    with running(tmp_path, scan_interval=0.02) as started:
        yield started


@pytest.fixture
def keeper(bench: Bench) -> HandoffKeeper:
    return HandoffKeeper(ledger=bench.ledger, path=bench.handoff)


def listing(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def test_directory_in_use_is_told(bench: Bench, keeper: HandoffKeeper) -> None:
    """
    Path, descriptor, identity.
    """
    current = keeper.current()
    found = bench.handoff.stat()

    assert (current.path, current.fd) == (bench.handoff, bench.places.handoff_fd)
    assert current.identity == (found.st_dev, found.st_ino)


def test_files_in_hand_end_in_the_old_directories(bench: Bench, keeper: HandoffKeeper) -> None:
    """
    And new ones in the new.
    """
    old = bench.handoff.with_name("handoff.old")
    bench.offer("intent-old.json")
    first = bench.take()
    bench.handoff.rename(old)
    bench.handoff.mkdir()
    new = keeper.on_replaced("replaced")
    bench.offer("intent-new.json")
    second = bench.take()
    bench.report(first)
    bench.report(second)
    bench.wait_filed(first, second)

    assert new is not None
    assert new.identity != (old.stat().st_dev, old.stat().st_ino)
    assert listing(old / "processed") == ["intent-old.json"]
    assert listing(bench.handoff / "processed") == ["intent-new.json"]
    assert len(listing(old / "status")) == len(listing(bench.handoff / "status")) == 1
    assert bench.live.snapshot().pauses == {}


def test_old_directories_are_let_go_when_their_last_row_is_closed(
    bench: Bench, keeper: HandoffKeeper
) -> None:
    """
    An operator can unmount them then.
    """
    old = bench.handoff.with_name("handoff.old")
    bench.offer("intent-old.json")
    job = bench.take()
    bench.handoff.rename(old)
    bench.handoff.mkdir()
    assert keeper.on_replaced("replaced") is not None
    assert held_below(old)
    bench.report(job)
    bench.wait_filed(job)

    wait_until(lambda: not held_below(old))


def held_below(path: Path) -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:
            continue
    return [target for target in found if target.startswith(str(path))]


def test_missing_directory_pauses_and_its_return_goes_on(bench: Bench, keeper: HandoffKeeper) -> None:
    """
    With a message that says what to do.
    """
    away = bench.handoff.with_name("away")
    bench.handoff.rename(away)
    assert keeper.on_replaced("missing") is None
    wait_until(bench.ledger.admission.paused)
    message = bench.live.snapshot().pauses[PauseReason.HANDOFF].message
    assert str(bench.handoff) in message
    assert "make it, or mount it" in message

    away.rename(bench.handoff)
    back = keeper.on_replaced("back")
    assert back is not None
    assert back.fd == bench.places.handoff_fd
    wait_until(lambda: not bench.ledger.admission.paused())
    bench.process("intent-a.json")


def test_directory_that_is_no_directory_pauses(bench: Bench, keeper: HandoffKeeper) -> None:
    """
    However often it is looked at, nothing stays open.
    """
    bench.handoff.rename(bench.handoff.with_name("away"))
    bench.handoff.write_text("")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        assert keeper.on_replaced("replaced") is None

    # The ledger opens and closes some of its own meanwhile.
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)
    wait_until(bench.ledger.admission.paused)


def test_directory_whose_work_folder_belongs_to_another_agent_pauses(
    bench: Bench, keeper: HandoffKeeper, tmp_path: Path
) -> None:
    """
    The holder is named; when it is gone, work goes on.
    """
    bench.handoff.rename(bench.handoff.with_name("handoff.old"))
    with running(tmp_path / "other") as other:
        bench.handoff.symlink_to(other.handoff)
        assert keeper.on_replaced("replaced") is None
        wait_until(bench.ledger.admission.paused)
        assert "in use by a test" in bench.live.snapshot().pauses[PauseReason.HANDOFF].message
    assert keeper.on_replaced("replaced") is not None
    wait_until(lambda: not bench.ledger.admission.paused())


def test_deleted_directory_with_files_in_hand(bench: Bench, keeper: HandoffKeeper) -> None:
    """
    Their outcomes stand, though they and their directories are gone.
    """
    bench.offer("intent-old.json", "intent-waiting.json")
    jobs = [bench.take(), bench.take()]
    shutil.rmtree(bench.handoff)
    assert keeper.on_replaced("missing") is None
    bench.handoff.mkdir()
    assert keeper.on_replaced("replaced") is not None
    for job in jobs:
        bench.report(job)
    bench.wait_filed(*jobs)
    row = bench.process("intent-new.json")

    assert [bench.row(number).outcome for number in (1, 2, 3)] == ["processed"] * 3
    assert listing(bench.handoff / "processed") == ["intent-new.json"]
    assert row.target == "intent-new.json"
