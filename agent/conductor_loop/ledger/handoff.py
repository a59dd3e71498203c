"""
Which handoff directory is the one in use, when somebody deletes, renames or replaces it.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from conductor_loop.errors import ConductorError
from conductor_loop.ledger.ledger import Ledger
from conductor_loop.model import PauseReason

log = logging.getLogger(__name__)

_REOPEN_SECONDS = 5.0  #: that the ledger may take; it may be waiting for the store, and is asked again then


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
    Speaks for the handoff directory in use; has the ledger open another one when that is what is at the path.

    Args:
        ledger: claims files, and so opens the places.
        path: of the handoff directory.
    """

    def __init__(self, *, ledger: Ledger, path: Path) -> None:
        self._ledger = ledger
        self._path = path

    def current(self) -> Handoff:
        """
        Return the directory in use.
        """
        places = self._ledger.claims.places
        return Handoff(self._path, places.handoff_fd, places.identity)

    def on_replaced(self, change: str) -> Handoff | None:
        """
        React to what intake found at the path; return the directory to use, or None while there is none.

        Args:
            change: "missing", "replaced" or "back".
        """
        try:
            if change == "missing":
                raise FileNotFoundError(f"{self._path} is missing or cannot be read; make it, or mount it")
            with os.scandir(self._path) as entries:  # it may be there and still be closed to us
                next(entries, None)
            self._reopen()
        except (ConductorError, OSError) as error:
            self._ledger.set_pause(PauseReason.HANDOFF, str(error))
            return None
        self._ledger.set_pause(PauseReason.HANDOFF, None)
        return self.current()

    def _reopen(self) -> None:
        found = self._path.stat()
        if (found.st_dev, found.st_ino) == self._ledger.claims.places.identity:
            return  # it was only unreadable, or moved away and back
        log.warning("%s is another directory now; new files are claimed there", self._path)
        self._ledger.reopen(_REOPEN_SECONDS)
