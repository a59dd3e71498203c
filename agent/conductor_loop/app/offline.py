"""
The administration of a state directory that no agent uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from wsgiref.types import WSGIApplication

from conductor_loop.app.administration import OfflineAdministration
from conductor_loop.app.parts import paths_of
from conductor_loop.config import Config
from conductor_loop.http.admin import make_admin_app


@contextmanager
def offline(config: Config) -> Iterator[WSGIApplication]:
    """
    Give the application that an agent has on its admin socket, without an agent.

    Reading takes nothing into possession. The first request that changes something does, and carries out what
    recovery would do at the next start; at the end all is given back.

    Raises:
        StoreError: there is no store, or it cannot be used.
    """
    with ExitStack() as stack:
        yield make_admin_app(
            administration=OfflineAdministration(config, stack), paths=paths_of(config), pages=None
        )
