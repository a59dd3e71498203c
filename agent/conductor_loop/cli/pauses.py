"""
Why intake stands still, asked and told.
"""

from __future__ import annotations

from typing import Any

from conductor_loop.cli.admin import Admin
from conductor_loop.cli.terminal import plain

Pauses = dict[str, dict[str, Any]]  #: reason -> since, message


def standing(admin: Admin) -> Pauses | None:
    """
    Return the pauses that stand; None while no agent runs, as only an agent knows.
    """
    if admin.door is None:
        return None
    pauses: Pauses = admin.get("/health")["details"]["paused"]
    return pauses


def told(pauses: Pauses | None) -> str:
    """
    Return the pauses in words, one line for each.
    """
    if pauses is None:
        return "no agent runs"
    lines = [
        plain(f"intake is paused: {reason} since {pause['since']} {pause['message']}".rstrip())
        for reason, pause in pauses.items()
    ]
    return "\n".join(lines) or "intake is not paused"
