"""
Who listens on a port of this machine.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from conductor_loop.host.process import PROC, command_name

_LISTEN = "0A"


def holder(port: int, *, proc: Path = PROC) -> str | None:
    """
    Return "pid 123 (nginx)" for a process that listens on a TCP port; None where it cannot be told.

    Other users' processes can be seen by root only.
    """
    sockets = {f"socket:[{inode}]" for inode in _listening(port, proc)}
    if not sockets:
        return None
    for process in proc.glob("[0-9]*"):
        with suppress(OSError):  # it ended, or is none of our business
            if any(str(fd.readlink()) in sockets for fd in (process / "fd").iterdir()):
                return f"pid {process.name} ({command_name(process.name, proc=proc)})"
    return None


def _listening(port: int, proc: Path) -> set[str]:
    inodes = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            lines = (proc / "net" / table).read_text().splitlines()[1:]
            inodes |= {fields[9] for fields in map(str.split, lines) if _matches(fields, port)}
    return inodes


def _matches(fields: list[str], port: int) -> bool:
    return fields[3] == _LISTEN and fields[1].endswith(f":{port:04X}")
