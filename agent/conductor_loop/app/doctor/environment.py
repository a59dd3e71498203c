"""
Checks of what the agent finds around it: interpreter, libraries, limits of the kernel, the clock.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from conductor_loop import __version__, clock
from conductor_loop.app.doctor.findings import Check, Subject, failed, ok, warning
from conductor_loop.intake import mounts
from conductor_loop.metrics.verdict import old_sqlite
from conductor_loop.store.database import Store

_OLDEST_PYTHON = (3, 11)
_DESCRIPTORS = 256  #: for directories, database, connections and their answers
_DESCRIPTORS_PER_WORKER = 8
_SPARE_WATCHES = 8  #: the agent itself needs one instance and one watch
_FIRST_YEAR, _LAST_YEAR = 2025, 2100
_AHEAD_SECONDS = 60  #: that the last sample may be ahead of the clock


def check_interpreter() -> Iterator[Check]:
    """
    Look at Python and SQLite.
    """
    words = f"Python {platform.python_version()} ({sys.executable}), conductor-loop {__version__}"
    if sys.version_info < _OLDEST_PYTHON:
        yield failed("python", words, "install Python 3.11 or later")
    else:
        yield ok("python", words)
    old = old_sqlite(Store.sqlite_version)
    if old:
        yield warning("sqlite", old, "update the system's SQLite library when there is a newer one")
    else:
        yield ok("sqlite", f"SQLite {Store.sqlite_version}")


def check_descriptors(subject: Subject) -> Iterator[Check]:
    """
    Compare the limit of open files with what the workers need.
    """
    needed = _DESCRIPTORS + _DESCRIPTORS_PER_WORKER * subject.config.agent.max_workers
    limit, whose = _descriptor_limit(subject)
    words = f"{'any number of' if limit is None else limit} open files are allowed to {whose}"
    if limit is not None and limit < needed:
        yield warning(
            "descriptors",
            f"{words}; {subject.config.agent.max_workers} workers may need {needed}",
            "raise the limit (LimitNOFILE of the service, ulimit -n), or lower agent.max_workers",
        )
    else:
        yield ok("descriptors", words)


def check_inotify(subject: Subject) -> Iterator[Check]:
    """
    Compare the user's watches with the kernel's limits.
    """
    agent = subject.config.agent
    if agent.watch == "poll" or mounts.is_network(mounts.fstype_of(agent.handoff_dir)):
        yield ok("inotify", "not used: the handoff directory is polled")
        return
    used = dict(zip(("instances", "watches"), _inotify_use(subject.user.uid), strict=True))
    limits = {name: _read_number(f"/proc/sys/fs/inotify/max_user_{name}") for name in used}
    words = ", ".join(f"{used[name]} of {limits[name]} {name}" for name in used)
    if any(limits[name] - used[name] < _SPARE_WATCHES for name in used):
        yield warning(
            "inotify",
            f"user {subject.user.name} has {words} in use; without one new files are noticed only by the scan",
            "raise fs.inotify.max_user_instances and fs.inotify.max_user_watches (sysctl)",
        )
    else:
        yield ok("inotify", f"user {subject.user.name} has {words} in use, as far as this user can see")


def check_clock(last_sample_at: int | None) -> Iterator[Check]:
    """
    Compare the clock with what is plausible and with what was seen before.

    Args:
        last_sample_at: moment of the last sample in the database.
    """
    now = clock.now_us()
    hint = "set the clock (timedatectl, chronyc tracking); ages of files and history depend on it"
    if not _FIRST_YEAR <= clock.to_datetime(now).year < _LAST_YEAR:
        yield failed("clock", f"it is {clock.rfc3339(now)}, which cannot be", hint)
    elif last_sample_at is not None and last_sample_at > now + _AHEAD_SECONDS * clock.SECOND:
        seen = clock.rfc3339(last_sample_at)
        yield warning("clock", f"it is {clock.rfc3339(now)}, and the agent has seen {seen} already", hint)
    else:
        yield ok("clock", f"it is {clock.rfc3339(now)}")


def _descriptor_limit(subject: Subject) -> tuple[int | None, str]:
    """
    Return the limit of the running agent, or else of ourselves, and whose it is; None for no limit.
    """
    if subject.holder is not None:
        try:
            lines = Path(f"/proc/{subject.holder.pid}/limits").read_text(encoding="ascii").splitlines()
            found = next(line for line in lines if line.startswith("Max open files"))
            limit = found.split()[3]
            return None if limit == "unlimited" else int(limit), "the agent"
        except (OSError, StopIteration):  # not ours to read, or it ended just now
            pass
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft, "a process started from here"


def _inotify_use(uid: int) -> tuple[int, int]:
    """
    Return how many instances and watches the processes of a user have, of those that we may look into.
    """
    counts = [_watches(fd) for process in _processes(uid) for fd in _descriptors(process)]
    found = [count for count in counts if count is not None]
    return len(found), sum(found)


def _processes(uid: int) -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == uid:
                yield process
        except OSError:
            continue


def _descriptors(process: Path) -> list[Path]:
    try:
        return list((process / "fd").iterdir())
    except OSError:
        return []


def _watches(descriptor: Path) -> int | None:
    """
    Return how many watches a descriptor of inotify has; None if it is of something else.
    """
    try:
        if os.readlink(descriptor) != "anon_inode:inotify":
            return None
        info = descriptor.parents[1] / "fdinfo" / descriptor.name
        return info.read_text(encoding="ascii").count("inotify wd:")
    except OSError:
        return None


def _read_number(path: str) -> int:
    return int(Path(path).read_text(encoding="ascii"))
