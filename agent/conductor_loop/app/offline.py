"""
The administration of a state directory that no agent uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from wsgiref.types import WSGIApplication

from conductor_loop.app.administration import OfflineAdministration
from conductor_loop.app.parts import paths_of
from conductor_loop.config import Config
from conductor_loop.http.admin import make_admin_app


class Offline(NamedTuple):
    """
    What answers without an agent.
    """

    app: WSGIApplication
    give_back: Callable[
        [], None
    ]  #: lets others use the directories until the next request that changes something


@contextmanager
def offline(config: Config) -> Iterator[Offline]:
    """
    Give the application that an agent has on its admin socket, without an agent.

    Reading takes nothing into possession. The first request that changes something does, and carries out what
    recovery would do at the next start; at the end all is given back.

    Raises:
        StoreError: there is no store, or it cannot be used.
    """
    administration = OfflineAdministration(config)
    try:
        app = make_admin_app(administration=administration, paths=paths_of(config), pages=None)
        yield Offline(app, administration.give_back)
    finally:
        administration.give_back()
