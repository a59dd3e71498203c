"""
The check of the database in the background, after the start.
"""

from __future__ import annotations

import logging
import threading

from conductor_loop.errors import StoreError
from conductor_loop.metrics.live import Live
from conductor_loop.runtime.service import ThreadService
from conductor_loop.store.database import Store

log = logging.getLogger(__name__)

_SECONDS = 20.0  #: a longer read makes the write-ahead log grow


class IntegrityCheck(ThreadService):
    """
    Looks once for damage; where there is some, the next start sets the database aside.
    """

    def __init__(self, *, store: Store, live: Live) -> None:
        super().__init__("integrity", self._check)
        self._store = store
        self._live = live

    def _check(self, stop: threading.Event) -> None:
        try:
            damages = self._store.quick_check(_SECONDS)
        except StoreError as error:
            log.warning("the store's integrity could not be checked: %s", error)
            return
        if damages:
            self._live.health("store", "unhealthy", f"the database is damaged: {damages[0]}")
            log.error("the database is damaged, the next start sets it aside: %s", "; ".join(damages))
            self._store.mark_corrupt("\n".join(damages))
