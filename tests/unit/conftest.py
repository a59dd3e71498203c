"""
What holds for every unit test.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator

import pytest

from waiting import wait_until


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """
    Fail a test that leaves threads or descriptors behind: what it started would disturb the next one.
    """
    threads, descriptors = set(threading.enumerate()), _descriptors()
    yield
    try:
        wait_until(lambda: set(threading.enumerate()) <= threads and not _new(descriptors), timeout=2.0)
    except AssertionError:
        gc.collect()  # what only waits for the collector is not left behind
        left = [thread.name for thread in set(threading.enumerate()) - threads]
        new = _new(descriptors)
        assert not left, f"threads left behind: {left}"
        assert not new, f"descriptors left behind: {new}"


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # that of the listing itself
    return found


def _new(before: dict[int, str]) -> dict[int, str]:
    return {fd: target for fd, target in _descriptors().items() if before.get(fd) != target}
