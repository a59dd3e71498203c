"""
Which handoff directory is the one in use, when somebody deletes, renames or replaces it.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from conductor_loop.errors import ConductorError
from conductor_loop.ledger.ledger import Ledger, Moved
from conductor_loop.ledger.places import Places
from conductor_loop.model import PauseReason

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Handoff:
    """
    An open handoff directory.
    """

    path: Path
    fd: int
    identity: tuple[int, int]  #: device and inode


class HandoffKeeper:
    """
    Opens the directories anew when the handoff directory is another one; files in hand end in the old ones.

    Args:
        ledger: claims new files in the new places.
        places: those in use at start.
        owner: the line that a second agent is shown.
    """

    def __init__(self, *, ledger: Ledger, places: Places, owner: str) -> None:
        self._ledger = ledger
        self._places = places
        self._owner = owner

    def current(self) -> Handoff:
        """
        Return the directory in use.
        """
        return Handoff(self._places.paths.handoff, self._places.handoff_fd, self._places.identity)

    def on_replaced(self, change: str) -> Handoff | None:
        """
        React to what intake found at the path; return the directory to use, or None while there is none.

        Args:
            change: "missing", "replaced" or "back".
        """
        path = self._places.paths.handoff
        try:
            if change == "missing":
                raise FileNotFoundError(f"{path} is missing or cannot be read; make it, or mount it")
            with os.scandir(path) as entries:  # it may be there and still be closed to us
                next(entries, None)
            self._reopen()
        except (ConductorError, OSError) as error:
            self._ledger.set_pause(PauseReason.HANDOFF, str(error))
            return None
        self._ledger.set_pause(PauseReason.HANDOFF, None)
        return self.current()

    def _reopen(self) -> None:
        if path_identity(self._places.paths.handoff) == self._places.identity:
            return  # it was only unreadable, or moved away and back
        log.warning("%s is another directory now; new files are claimed there", self._places.paths.handoff)
        self._places = Places(
            self._places.paths, agent=self._places.agent, owner=self._owner, predecessor=self._places
        )
        self._ledger.post(Moved(self._places))


def path_identity(path: Path) -> tuple[int, int]:
    """
    Return device and inode of what is at `path`.
    """
    found = path.stat()
    return found.st_dev, found.st_ino
