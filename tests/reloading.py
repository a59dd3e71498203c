"""
An agent in this process that takes over whatever its file says, when told to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from agents import Agent as Directories
from conductor_loop import config
from conductor_loop.app.agent import Agent
from conductor_loop.app.reload import Reloader
from conductor_loop.app.running import Running
from conductor_loop.config import Config, Loaded
from conductor_loop.host.disk import DiskWatch
from conductor_loop.host.sampler import Sampler
from conductor_loop.http.administration import Reloaded

Settings = Mapping[str, Mapping[str, object]]


class Reloading:
    """
    The running agent.

    Args:
        directories: below which it works, with its configuration file.
        stack: closes what it opens.
        others: told of each configuration that is taken over.
    """

    def __init__(
        self, directories: Directories, stack: ExitStack, others: Sequence[Callable[[Config], None]]
    ) -> None:
        self.directories = directories
        found = self._load().config
        self.agent = Agent(found, stack, embedded=True, show=lambda files: None)
        self.running = Running(
            pool=self.agent.pool,
            ledger=self.agent.ledger,
            intake=self.agent.intake,
            disk=DiskWatch([], min_free=0, pause=lambda *_: None, resume=lambda _: None, stands=bool),
            sampler=Sampler(10.0, paths=[], directory_bytes=int, deliver=[]),
            live=self.agent.live,
            abort=self.agent.pool._abort,
            others=others,
        )
        self.reloader = Reloader(found, load=self._load, parts=self.running, live=self.agent.live)

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
def reloading(
    root: Path, settings: Settings | None = None, *, others: Sequence[Callable[[Config], None]] = ()
) -> Iterator[Reloading]:
    """
    Run an agent in this process; on the way out it must end in order.
    """
    with ExitStack() as stack:
        one = Reloading(Directories(root, settings), stack, others)
        one.agent.supervisor.start()
        try:
            yield one
        finally:
            one.agent.supervisor.stop()
