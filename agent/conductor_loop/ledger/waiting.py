"""
Files in hand that wait: for another attempt, for a missing command, for their writer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from conductor_loop.ledger.entry import Entry
from conductor_loop.ledger.page import Page
from conductor_loop.ledger.pauses import Pauses
from conductor_loop.ledger.timers import Timers
from conductor_loop.model import PauseReason


class Waiting:
    """
    Lets files go on when their time has come; during a drain none does before that ends.
    """

    def __init__(self, *, timers: Timers, pauses: Pauses) -> None:
        self._timers = timers
        self._pauses = pauses
        self._numbers: set[int] = set()
        self._held: list[Callable[[Page], None]] = []  # whose time came during a drain
        pauses.on_lift(self._release)

    def __len__(self) -> int:
        """
        Return how many files wait; any thread may ask.
        """
        return len(self._numbers)

    def add(self, entry: Entry, delay: float, go_on: Callable[[], None]) -> None:
        """
        Have a file wait.

        Args:
            delay: seconds.
            go_on: called then, or when the drain ends, after the commit of that turn.
        """
        self._numbers.add(entry.number)
        self._timers.after(delay, partial(self._due, entry.number, go_on))

    def _due(self, number: int, go_on: Callable[[], None], page: Page) -> None:
        if PauseReason.DRAIN in self._pauses:
            self._held.append(partial(self._due, number, go_on))
        else:
            page.after.append(partial(self._go_on, number, go_on))

    def _go_on(self, number: int, go_on: Callable[[], None]) -> None:
        self._numbers.discard(number)
        go_on()

    def _release(self, reason: PauseReason) -> None:
        if reason is PauseReason.DRAIN:
            held, self._held = self._held, []
            for due in held:
                self._timers.after(0, due)
