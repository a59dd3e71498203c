"""
`run --once`: when there is nothing left to do, or nothing that can be done.
"""

from __future__ import annotations

import logging
import threading

from conductor_loop.intake.intake import Intake
from conductor_loop.ledger.ledger import Ledger
from conductor_loop.metrics.live import Live
from conductor_loop.metrics.snapshot import Snapshot
from conductor_loop.model import ASKED_FOR, PauseReason
from conductor_loop.runtime.service import ThreadService
from conductor_loop.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.05
_PATIENCE = 10.0  #: seconds that a disk, the store or a directory may need to come back


class Once(ThreadService):
    """
    Ends the agent when everything there is worked off, or when that waits for somebody.
    """

    def __init__(self, *, intake: Intake, ledger: Ledger, live: Live) -> None:
        super().__init__("once", self._watch)
        self._intake = intake
        self._ledger = ledger
        self._live = live
        self._supervisor: Supervisor | None = None
        self.done = False  #: everything is worked off

    def supervise(self, supervisor: Supervisor) -> None:
        """
        Set who is asked for the end.
        """
        self._supervisor = supervisor

    def _watch(self, stop: threading.Event) -> None:
        asked = False
        blocked_for = 0.0
        while not stop.wait(_LOOK_SECONDS):
            # In this order: what intake has offered, the ledger has.
            if self._intake.idle() and self._ledger.idle():
                self.done = True
                self._end("everything is worked off")
                return
            snapshot = self._live.snapshot()
            blocked = self._blocked(snapshot)
            blocked_for = blocked_for + _LOOK_SECONDS if blocked else 0.0
            if blocked and (blocked_for >= _PATIENCE or _asked_for(snapshot)):
                log.error("nothing can be worked on now: %s", blocked)
                self._end(blocked)
                return
            if self._ledger.idle() and not asked:
                self._intake.ask_scan()  # the next one by itself is seconds away
            asked = self._ledger.idle()

    def _end(self, reason: str) -> None:
        if self._supervisor is not None:
            self._supervisor.request_stop(reason)

    def _blocked(self, snapshot: Snapshot) -> str | None:
        """
        Return what all files wait for, or None.
        """
        if snapshot.active_workers:
            return None
        if len(self._ledger.stuck) and len(self._ledger.stuck) == len(self._ledger.book):
            return "the files that are left cannot be moved"
        waits = [pause for reason, pause in snapshot.pauses.items() if reason is not PauseReason.RETRIES]
        return waits[0].message if waits else None


def _asked_for(snapshot: Snapshot) -> bool:
    """
    Tell whether somebody has to end the pause; a disk, the store or a directory may come back by itself.
    """
    return bool({*ASKED_FOR, PauseReason.COMMAND} & set(snapshot.pauses))
