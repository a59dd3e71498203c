"""
Why intake stands still, asked and told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from conductor_loop.cli.admin import Admin
from conductor_loop.cli.terminal import plain

Pauses = Mapping[str, Mapping[str, Any]]  #: reason -> since, message


def standing(admin: Admin) -> Pauses:
    """
    Return the pauses that stand or, without an agent, those that the next one begins with.
    """
    pauses: Pauses = admin.get("/api/v1/pauses")["pauses"]
    return pauses


def each(pauses: Pauses) -> Iterator[str]:
    """
    Yield the words for each pause.
    """
    from conductor_loop.model import ASKED_FOR  # noqa: PLC0415 - dear, and `--help` does not need it

    for reason, pause in pauses.items():
        end = "`conductor-loop resume` ends it" if reason in ASKED_FOR else "it ends when that is mended"
        yield plain(f"{reason} since {pause['since']}: {pause['message']} ({end})")


def told(pauses: Pauses) -> str:
    """
    Return the pauses in words, one line for each.
    """
    return "\n".join(f"intake is paused: {words}" for words in each(pauses)) or "intake is not paused"
