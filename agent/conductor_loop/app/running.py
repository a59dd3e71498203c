"""
The parts of a running agent that take another configuration over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from conductor_loop.app.parts import author_of, command_name, make_attempter, own_folders, prove
from conductor_loop.config import Config
from conductor_loop.errors import ConfigError
from conductor_loop.host.disk import DiskWatch
from conductor_loop.host.sampler import Sampler
from conductor_loop.intake.intake import Intake
from conductor_loop.intake.names import NameFilter
from conductor_loop.ledger.ledger import Ledger
from conductor_loop.metrics.live import Live
from conductor_loop.work.pool import Attempt, WorkerPool
from conductor_loop.work.process import Abort


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """
    All or nothing: what can turn out to be impossible comes first, and the rest cannot fail.

    Args:
        abort: the word to end all commands, as the pool has it.
        others: further parts, each told of the configuration; must return at once and not fail.
    """

    pool: WorkerPool
    ledger: Ledger
    intake: Intake
    disk: DiskWatch
    sampler: Sampler
    live: Live
    abort: Abort
    others: Sequence[Callable[[Config], None]] = ()

    def prepare(self, config: Config) -> Callable[[], None]:
        """
        Make what is new and change nothing; return what takes it over, which raises ConfigError if even that fails.

        Raises:
            ConfigError: naming everything that is wrong with the schema and the handler.
        """
        problems = prove(config)
        if problems:
            raise ConfigError(*problems)
        return partial(self._take_over, config, make_attempter(config, self.abort).run_once)

    def _take_over(self, config: Config, attempt: Attempt) -> None:
        agent = config.agent
        self._resize(agent.max_workers)
        self.pool.configure(
            attempt=attempt, grace=agent.shutdown_grace, kill_grace=config.processor.kill_grace
        )
        self.ledger.configure(
            author=author_of(config),
            look_ahead=agent.look_ahead,
            max_waiting=config.retry.max_waiting,
            scan_interval=agent.scan_interval,
        )
        self.intake.configure(
            names=NameFilter(agent.pattern, own_folders(config)),
            settle=agent.settle,
            settle_max=agent.settle_max,
            scan_interval=agent.scan_interval,
        )
        self.disk.set_min_free(agent.min_free)
        self.sampler.set_interval(config.history.sample_interval)
        self.live.configure(max_workers=agent.max_workers, command_name=command_name(config))
        for tell in self.others:
            tell(config)

    def _resize(self, count: int) -> None:
        try:
            self.pool.resize(count)
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                f"agent.max_workers = {count}: not so many can be started now: {error}; write a smaller number"
            ) from error
