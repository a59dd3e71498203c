"""
The directories that a file passes through, and the slots in them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from conductor_loop.errors import ConfigError, OwnedError, PermissionDeniedError
from conductor_loop.ledger import moves
from conductor_loop.ledger.places import Paths, Places, Slots, exists
from ledgers import paths_below


def opened(paths: Paths, predecessor: Places | None = None) -> Places:
    return Places(paths, agent="agent", owner="a test", predecessor=predecessor)


def fill(path: Path) -> None:
    """
    Take every inode.
    """
    with contextlib.suppress(OSError):
        for number in range(100):
            (path / f"fill-{number}").write_text("")
    with pytest.raises(OSError, match="No space left"):
        (path / "one-more").write_text("")


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return paths_below(tmp_path)


@pytest.fixture
def slots(tmp_path: Path) -> Iterator[Slots]:
    with closing(Slots(tmp_path, "agent")) as made:
        yield made


def made_in(tmp_path: Path) -> list[str]:
    return sorted(os.listdir(tmp_path / "agent"))


# slots


def test_slots_are_made_when_needed_and_given_lowest_first(tmp_path: Path, slots: Slots) -> None:
    """
    As few directories as there ever were files at a time.
    """
    assert made_in(tmp_path) == []
    assert [slots.take() for _ in range(3)] == [0, 1, 2]
    for slot in (2, 0):
        slots.release(slot)

    assert [slots.take() for _ in range(3)] == [0, 2, 3]
    assert made_in(tmp_path) == ["0", "1", "2", "3"]


def test_slots_of_the_last_agent_are_used_again(tmp_path: Path) -> None:
    """
    Whatever else lies beside them.
    """
    for name in ("0", "7", "notes", "3"):
        (tmp_path / "agent" / name).mkdir(parents=True)
    with closing(Slots(tmp_path, "agent")) as slots:
        assert [slots.take() for _ in range(4)] == [0, 3, 7, 8]


def test_slot_that_a_file_was_found_in_is_not_given_out(tmp_path: Path) -> None:
    """
    Until everything in it has left.
    """
    (tmp_path / "agent" / "0").mkdir(parents=True)
    with closing(Slots(tmp_path, "agent")) as slots:
        slots.hold(0)
        slots.hold(0)
        assert slots.take() == 1
        slots.release(0)
        assert slots.take() == 2
        slots.release(0)

        assert slots.take() == 0
        assert slots.take() == 3


def test_slot_is_never_given_out_twice(tmp_path: Path) -> None:
    """
    Held, released and taken in any order.
    """
    for slot in range(3):
        (tmp_path / "agent" / str(slot)).mkdir(parents=True)
    with closing(Slots(tmp_path, "agent")) as slots:
        slots.hold(1)
        slots.release(1)
        taken = [slots.take() for _ in range(6)]

        assert taken == [0, 1, 2, 3, 4, 5]


def test_slot_of_a_row_whose_directory_is_gone_is_not_given_out(slots: Slots) -> None:
    """
    Somebody emptied the work directory while the agent was down; the row's file may still go there.
    """
    slots.hold(1)

    assert 1 not in [slots.take() for _ in range(4)]


def test_slot_is_made_again_and_the_next_one_found(tmp_path: Path, slots: Slots) -> None:
    """
    A directory that is there already stops nothing.
    """
    (tmp_path / "agent" / "0").mkdir()
    taken = slots.take()
    (tmp_path / "agent" / str(taken)).rmdir()
    slots.restore(taken)
    slots.restore(taken)

    assert (tmp_path / "agent" / str(taken)).is_dir()
    assert slots.take() != taken


# places


def test_missing_directories_are_made_and_the_probe_leaves_nothing(paths: Paths) -> None:
    """
    A first start needs no preparation.
    """
    with closing(opened(paths)):
        for path in (paths.handoff, paths.work, paths.processed, paths.failed, paths.status):
            assert path.is_dir()
            assert not [name for name in os.listdir(path) if name.startswith(".conductor")]


def test_close_twice_is_close(paths: Paths) -> None:
    """
    Descriptors have other owners by then.
    """
    before = descriptors()
    places = opened(paths)
    places.close()
    places.close()

    assert descriptors() == before


def test_second_owner_is_refused_and_leaves_nothing_open(paths: Paths) -> None:
    """
    It names the first.
    """
    with closing(opened(paths)):
        before = descriptors()
        with pytest.raises(OwnedError, match="in use by a test"):
            opened(paths)
        assert descriptors() == before


@pytest.mark.parametrize("name", ["handoff", "work", "processed", "failed", "status"])
def test_file_in_the_place_of_a_directory_is_named(paths: Paths, name: str) -> None:
    """
    With what would be right; and nothing stays open, however often it is tried.
    """
    path: Path = getattr(paths, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    before = descriptors()

    with pytest.raises(ConfigError, match=f"^{path}: .*a directory is needed here"):
        opened(paths)
    assert descriptors() == before


def test_file_in_the_place_of_the_agents_folder_is_named(paths: Paths) -> None:
    """
    In the work directory, where slots are made.
    """
    paths.work.mkdir(parents=True)
    (paths.work / "agent").write_text("")

    with pytest.raises(ConfigError, match=f"{paths.work}/agent: "):
        opened(paths)


def test_refused_move_names_both_directories(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The kernel says "invalid cross-device link"; we say what to do.
    """

    monkeypatch.setattr(moves, "_renameat2", lambda *args: errno.EXDEV)
    with pytest.raises(ConfigError) as refused:
        opened(paths)

    assert f"{paths.handoff} and {paths.work} are on different file systems" in str(refused.value)
    assert "on one" in str(refused.value)
    assert os.listdir(paths.handoff).count(".conductor-probe") == 0


@pytest.mark.root
@pytest.mark.parametrize("name", ["work", "processed", "failed", "status"])
def test_directory_on_another_file_system_is_refused(paths: Paths, name: str) -> None:
    """
    Files are moved by rename.
    """
    path: Path = getattr(paths, name)
    path.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], check=True)
    try:
        with pytest.raises(
            ConfigError, match=f"{path}.*different file systems|different file systems.*{path}"
        ):
            opened(paths)
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.root
def test_bind_mount_of_the_same_file_system_is_refused(paths: Paths, tmp_path: Path) -> None:
    """
    Its device number is the same, and moves fail all the same.
    """
    (tmp_path / "elsewhere").mkdir()
    paths.processed.mkdir(parents=True)
    subprocess.run(["mount", "--bind", tmp_path / "elsewhere", paths.processed], check=True)
    try:
        with pytest.raises(ConfigError, match="different file systems"):
            opened(paths)
    finally:
        subprocess.run(["umount", paths.processed], check=True)


@pytest.mark.root
def test_read_only_directory_is_refused_as_a_matter_of_permission(paths: Paths) -> None:
    """
    Naming the directory.
    """
    paths.handoff.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", paths.handoff], check=True)
    try:
        opened(paths).close()
        subprocess.run(["mount", "-o", "remount,ro", paths.handoff], check=True)
        with pytest.raises(PermissionDeniedError, match=f"{paths.handoff}: Read-only file system"):
            opened(paths)
    finally:
        subprocess.run(["umount", paths.handoff], check=True)


@pytest.mark.root
def test_full_disk_does_not_stop_the_start(paths: Paths) -> None:
    """
    The agent starts and waits for room.
    """
    paths.handoff.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=40", "tmpfs", paths.handoff], check=True
    )
    try:
        opened(paths).close()
        fill(paths.handoff)
        opened(paths).close()
    finally:
        subprocess.run(["umount", paths.handoff], check=True)


def test_successor_in_the_same_work_directory_takes_over_lock_and_slots(tmp_path: Path) -> None:
    """
    Only the handoff directory was replaced; what lies in the slots stays where it is.
    """
    paths = dataclasses.replace(paths_below(tmp_path), work=tmp_path / "work")
    before = descriptors()
    old = opened(paths)
    taken = old.slots.take()
    paths.handoff.rename(tmp_path / "handoff.old")
    new = opened(paths, predecessor=old)

    assert new.slots is old.slots
    assert new.slots.take() != taken
    old.close()
    with pytest.raises(OwnedError):
        opened(paths)
    assert new.slots.take() == 2
    new.close()
    opened(paths).close()
    assert descriptors() == before


def test_successor_with_a_new_work_directory_has_slots_of_its_own(tmp_path: Path, paths: Paths) -> None:
    """
    The old one is held until its last file is filed.
    """
    with closing(opened(paths)) as old:
        old.slots.take()
        paths.handoff.rename(tmp_path / "handoff.old")
        with closing(opened(paths, predecessor=old)) as new:
            assert new.identity != old.identity
            assert new.slots.take() == 0


def test_failed_successor_leaves_its_predecessor_as_it_was(tmp_path: Path) -> None:
    """
    It is tried again later, and opens nothing for good meanwhile.
    """
    paths = dataclasses.replace(paths_below(tmp_path), work=tmp_path / "work")
    with closing(opened(paths)) as old:
        paths.handoff.rename(tmp_path / "handoff.old")
        paths.handoff.mkdir()
        paths.failed.write_text("")
        before = descriptors()
        for _ in range(3):
            with pytest.raises(ConfigError):
                opened(paths, predecessor=old)
        assert descriptors() == before
        assert old.slots.take() == 0
        with pytest.raises(OwnedError):
            opened(dataclasses.replace(paths, failed=tmp_path / "failed"))


def test_identity_is_that_of_the_directory_not_of_the_path(tmp_path: Path, paths: Paths) -> None:
    """
    A renamed directory is still the same place.
    """
    with closing(opened(paths)) as places:
        found = paths.handoff.stat()
        paths.handoff.rename(tmp_path / "elsewhere")

        assert places.identity == (found.st_dev, found.st_ino)
        assert exists(places.handoff_fd, "work")


def test_mend_makes_deleted_directories_anew(paths: Paths) -> None:
    """
    Those that were deleted, and no other descriptor changes.
    """
    with closing(opened(paths)) as places:
        paths.status.rmdir()
        before = (places.processed_fd, places.failed_fd)
        places.mend()

        os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=places.status_fd))
        assert (paths.status / "new").exists()
        assert (places.processed_fd, places.failed_fd) == before


def test_mend_leaves_a_renamed_directory_alone(tmp_path: Path, paths: Paths) -> None:
    """
    It is still there, under another name.
    """
    with closing(opened(paths)) as places:
        paths.status.rename(tmp_path / "status")
        places.mend()

        assert not paths.status.exists()


def test_mend_does_not_bring_back_the_handoff_directory(tmp_path: Path, paths: Paths) -> None:
    """
    An operator who removes it does not want it from us.
    """
    paths = dataclasses.replace(paths, work=tmp_path / "work")
    with closing(opened(paths)) as places:
        for path in (paths.status, paths.failed, paths.processed, paths.handoff):
            path.rmdir()
        places.mend()
        assert not paths.handoff.exists()

        paths.handoff.mkdir()
        places.mend()
        assert paths.status.is_dir()


def test_exists_tells_what_it_can(paths: Paths) -> None:
    """
    A dangling symlink is there; where it cannot be told, nothing is concluded.
    """
    with closing(opened(paths)) as places:
        (paths.handoff / "link").symlink_to("nowhere")

        assert exists(places.handoff_fd, "link")
        assert not exists(places.handoff_fd, "missing")
        assert exists(places.handoff_fd, "x" * 300)
