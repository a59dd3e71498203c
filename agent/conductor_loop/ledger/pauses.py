"""
Why intake does not run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from conductor_loop import clock
from conductor_loop.ledger.admission import Admission
from conductor_loop.ledger.page import Page
from conductor_loop.ledger.request import Request
from conductor_loop.metrics.live import Live
from conductor_loop.metrics.snapshot import Pause
from conductor_loop.model import ASKED_FOR, PauseReason

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SetPause:
    """
    The message that sets a reason, or with `message` None lifts it.
    """

    reason: PauseReason
    message: str | None


class ChangePause(Request[Pause | None]):
    """
    The same message for who wants to know when that is durable, and how the reason stood before.
    """

    def __init__(self, reason: PauseReason, message: str | None) -> None:
        super().__init__(f"the {'end of the ' if message is None else ''}pause ({reason})")
        self.change = SetPause(reason, message)


class Pauses:
    """
    The set of reasons; intake runs while it is empty.
    """

    def __init__(self, *, admission: Admission, live: Live) -> None:
        self._admission = admission
        self._live = live
        self._reasons: dict[PauseReason, Pause] = {}
        self._lifted: Callable[[PauseReason], None] = lambda reason: None

    def __contains__(self, reason: PauseReason) -> bool:
        return reason in self._reasons

    @property
    def reasons(self) -> Mapping[PauseReason, str]:
        """
        The reasons that stand, each with its explanation.
        """
        return {reason: pause.message for reason, pause in self._reasons.items()}

    def on_lift(self, lifted: Callable[[PauseReason], None]) -> None:
        """
        Set what is told of every reason that is taken away.
        """
        self._lifted = lifted

    def load(self, kept: Mapping[str, tuple[int, str]]) -> None:
        """
        Take over what the store remembers, except a reason of a newer program, which this one could not lift.
        """
        for reason in ASKED_FOR:
            if reason in kept:
                since, message = kept[reason]
                self.set(reason, message, since)

    def handle(self, message: SetPause, page: Page) -> None:
        """
        Do what a message asks, and remember it if it must survive a restart.
        """
        if message.message is None:
            self.lift(message.reason)
        else:
            self.set(message.reason, message.message)
        if message.reason in ASKED_FOR:
            pause = self._reasons.get(message.reason)
            page.changes.pauses[message.reason] = None if pause is None else (pause.since, pause.message)

    def change(self, request: ChangePause, page: Page) -> None:
        """
        Do what a message asks, and answer it once that is durable.
        """
        before = self._reasons.get(request.change.reason)
        self.handle(request.change, page)
        page.after.append(partial(request.answer, before))

    def set(self, reason: PauseReason, message: str, since: int | None = None) -> None:
        """
        Add a reason, or give a standing one, which keeps its beginning, another explanation.

        Args:
            since: the moment at which it began; None for now.
        """
        before = self._reasons.get(reason)
        if before is None:
            log.warning("intake paused (%s): %s", reason, message)
        began = before.since if before else clock.now_us() if since is None else since
        self._reasons[reason] = Pause(began, message)
        self._admission.pause(True)
        self._live.pause(reason, message, began)

    def lift(self, reason: PauseReason) -> None:
        """
        Take a reason away; nothing happens if it does not stand.
        """
        if self._reasons.pop(reason, None) is None:
            return
        self._live.resume(reason)
        log.info("intake no longer paused for reason %s", reason)
        if not self._reasons:
            self._admission.pause(False)
        self._lifted(reason)
