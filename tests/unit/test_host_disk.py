"""
The watch over free disk space.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conductor_loop.host.disk import DiskWatch, Space, free_bytes, free_space
from conductor_loop.model import PauseReason
from conductor_loop.runtime.deadline import Deadline
from waiting import wait_until

MEBIBYTE = 1024**2


class Machine:
    """
    Directories whose free space the test sets, and what was said of them.
    """

    def __init__(self, **free: int | None) -> None:
        self.free = {Path(f"/{name}"): size for name, size in free.items()}
        self.said: list[str] = []
        self.paused = False
        self.watch = DiskWatch(
            list(self.free),
            min_free=100 * MEBIBYTE,
            pause=self._pause,
            resume=self._resume,
            stands=lambda: self.paused,
            interval=0.01,
            free=self._space,
        )
        self.inodes: int | None = None

    def look(self, **free: int | None) -> list[str]:
        """
        Set free space, look once, and return what was said.
        """
        self.free |= {Path(f"/{name}"): size for name, size in free.items()}
        self.said.clear()
        self.watch.check()
        return list(self.said)

    def _space(self, path: Path) -> Space | None:
        size = self.free[path]
        return None if size is None else Space(size, self.inodes)

    def _pause(self, reason: PauseReason, message: str) -> None:
        self.paused = True
        self.said.append(f"{reason} on: {message}")

    def _resume(self, reason: PauseReason) -> None:
        self.paused = False
        self.said.append(f"{reason} off")


def test_enough_space_is_nothing_to_speak_of():
    """
    Exactly the minimum is enough.
    """
    machine = Machine(handoff=100 * MEBIBYTE, state=10**12)

    assert machine.look() == []


def test_too_little_space_pauses_once():
    """
    The message names path, what is free and what is needed.
    """
    machine = Machine(handoff=40 * MEBIBYTE, state=10**12)

    assert machine.look() == ["disk on: /handoff has 40.0 MiB free, 100.0 MiB are needed"]
    assert machine.look(handoff=30 * MEBIBYTE) == []


def test_intake_goes_on_only_with_some_more_than_the_minimum():
    """
    So that it does not flutter at the edge; it is said once.
    """
    machine = Machine(handoff=99 * MEBIBYTE)
    machine.look()

    assert machine.look(handoff=104 * MEBIBYTE) == []
    assert machine.look(handoff=105 * MEBIBYTE) == ["disk off"]
    assert machine.look() == []
    assert machine.look(handoff=100 * MEBIBYTE) == []


def test_a_second_short_directory_changes_the_explanation():
    """
    The pause stays until all have enough.
    """
    machine = Machine(handoff=50 * MEBIBYTE, out=10**12)
    machine.look()

    (both,) = machine.look(out=20 * MEBIBYTE)
    assert "/handoff has 50.0 MiB" in both
    assert "/out has 20.0 MiB" in both
    assert "/out" in machine.look(handoff=10**12)[0]
    assert machine.look(out=10**12) == ["disk off"]


def test_a_pause_that_a_worker_asked_for_is_lifted_too():
    """
    Its attempt met a full disk between two looks, and there is space again.
    """
    machine = Machine(handoff=10**12)
    machine.paused = True

    assert machine.look() == ["disk off"]
    assert machine.look() == []


def test_a_missing_directory_is_not_short():
    """
    That it is missing is somebody else's business; one that was short and went away ends the pause.
    """
    machine = Machine(handoff=None)

    assert machine.look() == []
    assert len(machine.look(handoff=1)) == 1
    assert machine.look(handoff=None) == ["disk off"]


def test_a_file_system_without_inodes_is_full():
    """
    However many bytes are free; it flutters as little as with bytes.
    """
    machine = Machine(handoff=10**12)
    machine.inodes = 255
    assert machine.look() == ["disk on: /handoff has 255 inodes free, 256 are needed"]

    machine.inodes = 260
    assert machine.look() == []
    machine.inodes = 269
    assert machine.look() == ["disk off"]
    machine.inodes = 256
    assert machine.look() == []


def test_what_is_short_of_both_says_both():
    """
    Whoever mends one would wonder else.
    """
    machine = Machine(handoff=40 * MEBIBYTE)
    machine.inodes = 3

    assert machine.look() == [
        "disk on: /handoff has 40.0 MiB free, 100.0 MiB are needed; /handoff has 3 inodes free, 256 are needed"
    ]


def test_a_second_shortage_of_the_same_directory_changes_the_explanation():
    """
    And one that is over as well.
    """
    machine = Machine(handoff=40 * MEBIBYTE)
    machine.look()

    machine.inodes = 3
    assert "3 inodes" in machine.look()[0]
    assert "MiB" not in machine.look(handoff=10**12)[0]
    machine.inodes = 10**6
    assert machine.look() == ["disk off"]


@pytest.mark.parametrize(("files", "expected"), [(0, None), (1000, 700)])
def test_some_file_systems_do_not_count_inodes(
    files: int, expected: int | None, monkeypatch: pytest.MonkeyPatch
):
    """
    btrfs tells that it has none at all; that is not full.
    """
    told = os.statvfs_result(
        (4096, 4096, 100, 90, 80, files, 900 if files else 0, 700 if files else 0, 0, 255)
    )
    monkeypatch.setattr(os, "statvfs", lambda path: told)

    assert free_space(Path("/")) == Space(80 * 4096, expected)


def test_free_space_is_that_of_ordinary_users(tmp_path: Path):
    """
    Without what the file system keeps back for root.
    """
    found = os.statvfs(tmp_path)

    assert free_bytes(tmp_path) == pytest.approx(found.f_bavail * found.f_frsize, abs=64 * MEBIBYTE)
    assert free_bytes(tmp_path / "missing") is None
    assert free_space(tmp_path / "missing") is None


def test_as_a_service_it_looks_by_itself():
    """
    And stops when asked.
    """
    machine = Machine(handoff=1)
    machine.watch.start(lambda *_: None)
    wait_until(lambda: machine.said)
    machine.free[Path("/handoff")] = 10**12
    wait_until(lambda: machine.said[-1] == "disk off")
    machine.watch.request_stop()

    assert machine.watch.join(Deadline.after(5))


def test_another_minimum_holds_from_the_next_look_on() -> None:
    """
    The explanation names the minimum, so it is given again; and what is enough now ends the pause.
    """
    machine = Machine(a=150 * MEBIBYTE)
    enough = machine.look()
    machine.watch.set_min_free(200 * MEBIBYTE)
    raised = machine.look()
    machine.watch.set_min_free(300 * MEBIBYTE)
    again = machine.look()
    same = machine.look()
    machine.watch.set_min_free(0)
    lowered = machine.look()

    assert enough == []
    assert raised == ["disk on: /a has 150.0 MiB free, 200.0 MiB are needed"]
    assert again == ["disk on: /a has 150.0 MiB free, 315.0 MiB are needed"]
    assert same == []
    assert lowered == ["disk off"]
