"""
The machine in the words of the report: what a reader needs to compare numbers, and nothing that names it.
"""

from __future__ import annotations

import os
import platform
import resource
import sqlite3
import statistics
import time
from pathlib import Path

SYNCS = 50
CLOCK_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Company:
    """
    How much of the machine others used since this was made, kernel threads included.
    """

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._busy = _foreign_seconds()

    def percent(self) -> float:
        """
        Return the share of all cores' time.
        """
        available = (time.monotonic() - self._begin) * (os.cpu_count() or 1)
        return max(_foreign_seconds() - self._busy, 0) / available * 100


def describe(directory: Path, memory: Path | None) -> dict[str, str]:
    """
    Return what the numbers depend on, in the order of showing.

    Args:
        directory: where the bench works on disk; 50 small files' worth is written there.
        memory: where it works in memory.
    """
    kinds = [file_system(directory, mounts())]
    if memory:
        kinds.append(file_system(memory, mounts()))
    return {
        "processor": f"{len(os.sched_getaffinity(0))} cores, {_cpu_model()}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB",
        # Local suffixes say nothing about speed and may say whose machine it is.
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "file systems": ", ".join(kinds),
        "fdatasync of 4 KiB": f"{_sync_ms(directory):.2f} ms (median of {SYNCS})",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
    }


def free_bytes(path: Path) -> int:
    """
    Return how much may be written below `path`, 0 if it is no directory we may write in.
    """
    if not os.access(path, os.W_OK | os.X_OK):
        return 0
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def busy_ticks(cpu_line: str) -> int:
    """
    Return the time that all cores were not idle, time stolen by the host included, from a line of /proc/stat.
    """
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, cpu_line.split()[1:9])
    return user + nice + system + irq + softirq + steal


def mounts() -> str:
    """
    Return the kernel's list of mounts.
    """
    return Path("/proc/self/mountinfo").read_text(encoding="utf-8")


def file_system(path: Path, mountinfo: str) -> str:
    """
    Return the type and options of the file system that holds `path`, such as `ext4 (rw,relatime)`.
    """
    best, found = -1, "unknown"
    for line in mountinfo.splitlines():
        mounted, _, source = line.partition(" - ")
        point, options = mounted.split()[4:6]
        inside = path.resolve().is_relative_to(point.encode().decode("unicode_escape"))
        # Of two mounts on one point the later one counts.
        if inside and len(point) >= best:
            kind, device = source.split()[:2]
            best, found = len(point), f"{kind}{_journal(kind, Path(device).name)} ({options})"
    return found


def _journal(kind: str, device: str) -> str:
    """
    Return a remark if an ext4 file system has no journal: flushing is cheap then, and deleting has a long shadow.
    """
    known = kind == "ext4" and Path("/proc/fs/ext4", device).exists()
    return " without a journal" if known and not any(Path("/proc/fs/jbd2").glob(f"{device}-*")) else ""


def _foreign_seconds() -> float:
    """
    Return the CPU time of the whole machine, time stolen by its host included, without ours and our children's.
    """
    with open("/proc/stat", encoding="ascii") as stat:
        busy = busy_ticks(stat.readline()) / CLOCK_TICKS_PER_SECOND
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return busy - sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _sync_ms(directory: Path) -> float:
    timings = []
    descriptor = os.open(directory / "sync-probe", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        for _ in range(SYNCS):
            begin = time.perf_counter()
            os.write(descriptor, bytes(4096))
            os.fdatasync(descriptor)
            timings.append((time.perf_counter() - begin) * 1000)
    finally:
        os.close(descriptor)
    return statistics.median(timings)
