"""
Waiting until an earlier run of the bench is forgotten.

Without a journal ext4 does not give out recently deleted inodes again but searches past them (find_inode_bit in the
kernel's fs/ext4/ialloc.c: 60 s, and 300 s more while the deletion is not on disk): after the clean-up of one run
creating files is up to 25 times slower for minutes, which flatters the ratios of the next, as the limit suffers most.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from bench.workbench import Workbench

MARK = "last-clean-up"
EFFECT_SECONDS = 360.0
PROBE_SECONDS = 20.0  #: between two looks
PROBE_FILES = 2_000
RECOVERED_PER_SECOND = 10_000  #: a file system that never gets there waits for the whole effect


def mark_deletion(directory: Path) -> None:
    """
    Note in `directory` that thousands of files were deleted just now.
    """
    (directory / MARK).touch()


def wait_until_forgotten(
    bench: Workbench, directory: Path, *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """
    Wait until files are created at full speed again, if a run that worked in `directory` was cleaned up lately.
    """
    while (age := _age_seconds(directory / MARK)) < EFFECT_SECONDS:
        rate = creations_per_second(bench.fresh(bench.disk, "inodes"))
        if rate >= RECOVERED_PER_SECOND:
            return
        bench.say(f"an earlier run was cleaned up {age:.0f} s ago: {rate:,.0f} new files/s only; waiting")
        sleep(PROBE_SECONDS)


def creations_per_second(directory: Path, count: int = PROBE_FILES) -> float:
    """
    Return how fast empty files are created in `directory`, which must be empty; they stay.
    """
    begin = time.perf_counter()
    for number in range(count):
        os.close(os.open(directory / str(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
    return count / (time.perf_counter() - begin)


def _age_seconds(mark: Path) -> float:
    try:
        return max(time.time() - mark.stat().st_mtime, 0)
    except FileNotFoundError:
        return float("inf")
