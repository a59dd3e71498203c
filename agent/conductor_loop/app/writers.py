"""
Who has a file open for writing, as far as this user can see.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from conductor_loop.host.process import PROC, command_name


def writers_of(found: os.stat_result) -> list[str]:
    """
    Return "pid 123 (cp)" for every process that has the file open for writing, of those that we may look into.
    """
    return [
        f"pid {process.name} ({command_name(process.name)})"
        for process in PROC.glob("[0-9]*")
        if any(_writes(process, descriptor, found) for descriptor in _descriptors(process))
    ]


def _descriptors(process: Path) -> Iterator[str]:
    try:
        yield from os.listdir(process / "fd")
    except OSError:  # ended, or somebody else's
        return


def _writes(process: Path, descriptor: str, found: os.stat_result) -> bool:
    try:
        if not os.path.samestat(os.stat(process / "fd" / descriptor), found):
            return False
        info = (process / "fdinfo" / descriptor).read_text(encoding="ascii")
    except OSError:
        return False
    flags = next(line.split()[1] for line in info.splitlines() if line.startswith("flags:"))
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
