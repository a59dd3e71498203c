"""
An agent in this process that takes over whatever its file says, when told to.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from agents import Agent as Directories
from conductor_loop import config
from conductor_loop.app.agent import Agent
from conductor_loop.config import Loaded
from conductor_loop.http.administration import Reloaded

Settings = Mapping[str, Mapping[str, object]]


class Reloading:
    """
    The running agent.

    Args:
        directories: below which it works, with its configuration file.
        stack: closes what it opens.
    """

    def __init__(self, directories: Directories, stack: ExitStack) -> None:
        self.directories = directories
        self.agent = Agent(
            self._load().config, stack, load=self._load, embedded=True, show=lambda files: None
        )
        self.reloader = self.agent.reloader

    def reload(self, settings: Settings | None = None, *, dry_run: bool = False) -> Reloaded:
        """
        Have it reread its file, with other settings in it if they are given.
        """
        if settings is not None:
            self.directories._write_config(settings)
        return self.reloader.reload(dry_run=dry_run)

    def _load(self) -> Loaded:
        return config.load(self.directories.config, environ={}, flags={})


@contextmanager
def reloading(root: Path, settings: Settings | None = None) -> Iterator[Reloading]:
    """
    Run an agent in this process; on the way out it must end in order.
    """
    level = logging.getLogger().level
    with ExitStack() as stack:
        one = Reloading(Directories(root, settings), stack)
        one.agent.supervisor.start()
        try:
            yield one
        finally:
            one.agent.supervisor.stop()
            logging.getLogger().setLevel(level)
