"""
What may change while the ledger runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from conductor_loop.model import Author


@dataclass(frozen=True, slots=True)
class Terms:
    """
    The message that replaces these settings; see `Ledger`.
    """

    author: Author
    look_ahead: int
    max_waiting: int
    scan_interval: float
