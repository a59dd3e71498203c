"""
The handoff directory's size.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conductor_loop.host.directory import DirectorySize
from conductor_loop.runtime.deadline import Deadline
from waiting import wait_until


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """
    Open a directory.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def walking(directory: Callable[[], int | None], found: list[int]) -> Iterator[DirectorySize]:
    """
    Walk pass after pass; no descriptor stays open.
    """
    before = len(os.listdir("/proc/self/fd"))
    crashes: list[BaseException] = []
    walker = DirectorySize(directory, found.append, pause_seconds=0.01)
    walker.start(lambda _, error: crashes.append(error))
    try:
        yield walker
    finally:
        walker.request_stop()
        assert walker.join(Deadline.after(5))
        assert crashes == []
        assert len(os.listdir("/proc/self/fd")) == before


def test_regular_files_directly_inside_are_summed(tmp_path: Path):
    """
    Not those of subdirectories, not links, pipes or sockets; undecodable names do no harm.
    """
    (tmp_path / "a").write_bytes(b"x" * 1000)
    (tmp_path / os.fsdecode(b"\xff\n")).write_bytes(b"x" * 234)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_bytes(b"x" * 9999)
    (tmp_path / "link").symlink_to("a")
    os.mkfifo(tmp_path / "fifo")
    found: list[int] = []

    with socket.socket(socket.AF_UNIX) as listener, opened(tmp_path) as descriptor:
        listener.bind(f"/proc/self/fd/{descriptor}/socket")
        with walking(lambda: descriptor, found):
            wait_until(lambda: found)

    assert found[0] == 1234


def test_changes_show_in_a_later_pass(tmp_path: Path):
    """
    Also after the directory at the path was replaced by another one.
    """
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "b").write_bytes(b"x" * 7)
    found: list[int] = []

    with opened(tmp_path / "one") as one, opened(tmp_path / "two") as two:
        current = [one]
        with walking(lambda: current[0], found):
            wait_until(lambda: found and found[-1] == 0)
            (tmp_path / "one" / "a").write_bytes(b"x" * 5)
            wait_until(lambda: found[-1] == 5)
            current[0] = two
            wait_until(lambda: found[-1] == 7)


@pytest.mark.parametrize("descriptor", [None, 10_000, 0])
def test_a_directory_that_is_not_there_is_waited_for(tmp_path: Path, descriptor: int | None):
    """
    Missing, closed or no directory: nothing is found, nothing fails, and it goes on later.
    """
    found: list[int] = []
    asked = threading.Event()
    current = [descriptor]

    def directory() -> int | None:
        asked.set()
        return current[0]

    with opened(tmp_path) as there, walking(directory, found):
        assert asked.wait(5)
        asked.clear()
        assert asked.wait(5)
        assert found == []
        current[0] = there
        wait_until(lambda: found)


def test_a_listing_of_our_own_disturbs_no_other(tmp_path: Path):
    """
    Others list the same descriptor at the same time and miss nothing.
    """
    for number in range(500):
        (tmp_path / str(number)).touch()
    found: list[int] = []

    with opened(tmp_path) as descriptor, walking(lambda: descriptor, found):
        for _ in range(20):
            assert len(os.listdir(descriptor)) == 500
        wait_until(lambda: len(found) > 3)


@pytest.mark.slow
def test_a_large_directory_takes_little_of_a_core_and_stops_at_once(tmp_path: Path):
    """
    The walk rests far longer than it works, and a rest ends when the service is stopped.
    """
    with opened(tmp_path) as descriptor:
        for number in range(40_000):
            os.close(os.open(str(number), os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        found: list[int] = []
        with walking(lambda: descriptor, found):
            used, begun = time.process_time(), time.monotonic()
            threading.Event().wait(3)
            share = (time.process_time() - used) / (time.monotonic() - begun)
            stopped = time.monotonic()

    assert share < 0.06
    assert time.monotonic() - stopped < 0.5
