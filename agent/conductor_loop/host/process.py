"""
Other processes of this machine.
"""

from __future__ import annotations

from pathlib import Path

from conductor_loop.model import display_name

PROC = Path("/proc")


def command_name(pid: int | str, *, proc: Path = PROC) -> str:
    """
    Return the name of a process's command; "?" if it is gone, or of another container.

    A process may call itself anything, so bytes that are no text are escaped.
    """
    try:
        return display_name(
            (proc / str(pid) / "comm").read_text(encoding="utf-8", errors="surrogateescape").strip()
        )
    except OSError:
        return "?"
