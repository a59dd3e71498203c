"""
One handoff directory with all that is known of it, to be forgotten together when another takes its path.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from conductor_loop import clock
from conductor_loop.intake.ports import Handoff
from conductor_loop.intake.readiness import Readiness
from conductor_loop.intake.scan import Found, Scan


class Place:
    """
    A directory, its candidates and the pass over it that is under way.

    Args:
        handoff: the directory.
        readiness: its candidates.
    """

    def __init__(self, handoff: Handoff, readiness: Readiness) -> None:
        self.handoff = handoff
        self.readiness = readiness
        self.clean = False  #: whether the last pass found no file and nothing was offered since it began
        self.scan_seconds = 0.0  #: that the last pass took, without the work in between
        self._scan: Scan | None = None
        self._begun_at = 0
        self._offered = False

    @property
    def scanning(self) -> bool:
        return self._scan is not None

    def scan(self, accepts: Callable[[str], bool]) -> Found | None:
        """
        Begin a pass, or go on with it for one chunk; return what it found when it has ended.

        Raises:
            OSError: if the directory cannot be read.
        """
        begun = time.monotonic()
        if self._scan is None:
            self._scan = self._begin(accepts)
        more = self._scan.step()
        self.scan_seconds += time.monotonic() - begun
        if more:
            return None
        found = self._scan.found
        self.readiness.scan_ended(found, self._begun_at)
        self.clean = not found.files and not self._offered
        self.close()
        return found

    def reconsider(self, accepts: Callable[[str], bool], settle: float, now: float) -> None:
        """
        Take over other settings: the pass under way, which looks for the names of before, is given up.
        """
        self.close()
        self.clean = False
        self.readiness.reconsider(accepts, settle, now)

    def offer(self, now: float) -> None:
        """
        Offer what is ready.
        """
        if self.readiness.offer(now):
            self._offered = True
            self.clean = False

    def close(self) -> None:
        """
        Give up the pass that is under way; safe to call twice.
        """
        if self._scan is not None:
            self._scan.close()
            self._scan = None

    def _begin(self, accepts: Callable[[str], bool]) -> Scan:
        scan = Scan(self.handoff.fd, accepts)
        self._offered = False
        self.scan_seconds = 0.0
        self._begun_at = clock.now_us()
        self.readiness.scan_begins()
        return scan
