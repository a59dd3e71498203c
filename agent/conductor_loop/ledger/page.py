"""
One turn of the ledger: what is committed, and what may be done once it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from conductor_loop.model import Finished
from conductor_loop.store.changes import Changes


@dataclass(slots=True)
class Page:
    """
    Filled by the handlers of one batch of messages; `after` runs, in order, only when `changes` are durable.
    """

    changes: Changes = field(default_factory=Changes)
    finished: list[Finished] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)
