"""
What intake needs of others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from conductor_loop.model import Arrival


class Handoff(Protocol):
    """
    The open handoff directory.
    """

    @property
    def path(self) -> Path: ...

    @property
    def fd(self) -> int:
        """
        Descriptor of the directory; stays valid until the next `on_replaced` has returned another handoff.
        """

    @property
    def identity(self) -> tuple[int, int]:
        """
        Device and inode of what `fd` holds.
        """


Change = Literal["missing", "replaced", "back"]

#: Called by intake when another directory, or none, is at the path; opens what is there and returns it, or None
#: while there is nothing to open. `missing` also stands for a directory that cannot be read. Must not raise.
OnReplaced = Callable[[Change], Handoff | None]


class Admission(Protocol):
    """
    Who takes the files; every method returns at once.
    """

    def room(self) -> int:
        """
        Return how many files may be offered now; 0 when paused or full. Intake is woken when that changes.
        """

    def paused(self) -> bool: ...

    def in_hand(self, name: str) -> bool:
        """
        Tell whether a file of this name was offered and is not yet out of the handoff directory.
        """

    def offer(self, arrivals: Sequence[Arrival]) -> None: ...


class Live(Protocol):
    """
    Who is told how it goes; every method returns at once.
    """

    def backpressure(self) -> None: ...

    def overflowed(self) -> None: ...

    def probe(self, seconds: float) -> None: ...

    def health(self, component: str, state: str, message: str = "") -> None: ...

    def warn(self, key: str, message: str | None) -> None: ...

    def set(self, **gauges: int | str | None) -> None: ...
