"""
A pass over a directory.
"""

from __future__ import annotations

import os
from pathlib import Path

from conductor_loop.intake.names import NameFilter
from conductor_loop.intake.scan import Found, Scan, Schedule


def scan(path: Path, **options: int) -> tuple[Found, int]:
    """
    Return what a whole pass finds and how many steps it took.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        one = Scan(fd, NameFilter("*.json").accepts, **options)
        steps = 1
        while one.step():
            steps += 1
        one.close()
        one.close()
        return one.found, steps
    finally:
        os.close(fd)


def test_counts_what_is_there(tmp_path: Path) -> None:
    """
    Matching files, and matching other things.
    """
    (tmp_path / "a.json").write_text("123")
    (tmp_path / "b.json").write_text("4567")
    (tmp_path / "c.json").symlink_to("a.json")
    (tmp_path / "d.json").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").write_text("")
    found, _ = scan(tmp_path)

    assert (found.files, found.ignored) == (2, 2)


def test_the_newest_comes_first(tmp_path: Path) -> None:
    """
    So that the oldest is popped from the end.
    """
    for number in (3, 1, 2):
        (tmp_path / f"{number}.json").write_text("")
    ctimes = {path.name: path.stat().st_ctime_ns for path in tmp_path.iterdir()}
    found, _ = scan(tmp_path)

    assert found.oldest == sorted((-ctime, name) for name, ctime in ctimes.items())


def test_only_the_oldest_are_kept(tmp_path: Path) -> None:
    """
    Memory is bounded however many files there are.
    """
    ctimes = {}
    for number in range(30):
        path = tmp_path / f"{(number * 7) % 30}.json"
        path.write_text("")
        before = path.stat().st_ctime_ns
        while ctimes and before <= max(ctimes.values()):  # coarse clocks give several files one moment
            path.chmod(0o600)
            before = path.stat().st_ctime_ns
        ctimes[path.name] = before
    found, _ = scan(tmp_path, most=10)

    assert found.truncated
    assert found.files == 30
    assert [name for _, name in reversed(found.oldest)] == sorted(ctimes, key=ctimes.__getitem__)[:10]


def test_steps_are_bounded(tmp_path: Path) -> None:
    """
    Intake does other things in between.
    """
    for number in range(25):
        (tmp_path / f"{number}.json").write_text("")
    found, steps = scan(tmp_path, chunk=10)

    assert (found.files, steps) == (25, 3)
    assert not found.truncated


def test_another_reader_of_the_same_descriptor_takes_nothing_away(tmp_path: Path) -> None:
    """
    The reading position belongs to the open description, which `dup` shares.
    """
    for number in range(3000):
        (tmp_path / f"{number}.json").touch()
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        one = Scan(fd, NameFilter("*").accepts, chunk=100)
        one.step()
        with os.scandir(fd) as other:
            assert len(list(other)) == 3000
        while one.step():
            pass
        one.close()
    finally:
        os.close(fd)

    assert one.found.files == 3000


def test_deleted_directory_is_empty(tmp_path: Path) -> None:
    """
    The pass does not fail; that the directory is gone is noticed at its path.
    """
    path = tmp_path / "x"
    path.mkdir()
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    path.rmdir()
    one = Scan(fd, NameFilter("*").accepts)
    more = one.step()
    one.close()
    os.close(fd)

    assert not more
    assert one.found == Found()


def test_schedule_keeps_the_interval_but_not_more_than_its_share() -> None:
    """
    A million files must not be read all the time.
    """
    schedule = Schedule(5.0)
    assert schedule.due <= 0
    schedule.begin()
    schedule.end(100.0, 0.01)
    assert schedule.due == 105.0
    schedule.begin()
    schedule.end(100.0, 2.0)
    assert schedule.due == 200.0


def test_asked_for_scan_comes_soon_even_if_asked_during_one() -> None:
    """
    What was lost while a pass was under way may lie behind it.
    """
    schedule = Schedule(5.0)
    schedule.begin()
    schedule.ask()
    schedule.end(100.0, 1.0)
    assert schedule.due == 102.0
    schedule.begin()
    schedule.end(110.0, 0.0)
    assert schedule.due == 115.0
