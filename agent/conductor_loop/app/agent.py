"""
All parts of one agent, wired.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import cast
from wsgiref.types import WSGIApplication

from conductor_loop import __version__, clock
from conductor_loop.app.inheritance import end_orphans, end_processes, own_state
from conductor_loop.app.once import Once
from conductor_loop.app.parts import author_of, make_attempter, own_folders, paths_of, processor_name
from conductor_loop.config import Config, config_hash
from conductor_loop.errors import CorruptStoreError, ServiceCrashError, StoreError
from conductor_loop.host.directory import DirectorySize
from conductor_loop.host.disk import DiskWatch
from conductor_loop.host.sampler import Sampler
from conductor_loop.http.routes import make_app
from conductor_loop.http.server import HttpServer
from conductor_loop.intake.guard import Mode
from conductor_loop.intake.intake import Intake
from conductor_loop.intake.names import NameFilter
from conductor_loop.ledger.handoff import HandoffKeeper
from conductor_loop.ledger.ledger import Ledger
from conductor_loop.ledger.marks import Mark, Marks, read_boot_id
from conductor_loop.ledger.opening import Memory, open_ledger, remember
from conductor_loop.ledger.places import Places
from conductor_loop.metrics.live import Live
from conductor_loop.metrics.verdict import old_sqlite
from conductor_loop.model import Filed, Outcome, PauseReason, Sample
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.runtime.relay import Relay
from conductor_loop.runtime.service import Service, ThreadService
from conductor_loop.runtime.supervisor import Supervisor
from conductor_loop.store import queries
from conductor_loop.store.database import Store
from conductor_loop.work.pool import Attempt, WorkerPool
from conductor_loop.work.process import Abort

log = logging.getLogger(__name__)

_FORCE_SECONDS = 2.0  #: until what cannot be killed, a python handler, is left behind by a stop at once
_OWN_END_SECONDS = 10.0  #: for the last commits, once all running work has ended
_CHECK_SECONDS = (
    20.0  #: for the integrity check in the background; a longer read makes the write-ahead log grow
)
_LOOK_SECONDS = 0.05  #: between two looks whether `--once` is done

_BAD = (Outcome.FAILED, Outcome.REJECTED)

Show = Callable[[Sequence[Filed]], None]


class Agent:
    """
    All parts of one agent, wired.

    Args:
        stack: closes what must outlive the services.
    """

    def __init__(
        self, config: Config, stack: ExitStack, *, once: bool, show: Show, started: Callable[[], None]
    ) -> None:
        self._config = config
        owner = f"the agent {config.agent.name!r}, process {os.getpid()}"
        self._disks = [config.agent.handoff_dir, config.agent.state_dir, config.processor.out_dir]
        self._bad = False
        abort = Abort()
        attempt = make_attempter(config, abort).run_once  # first, for it finds mistakes in the configuration
        own_state(config, owner, stack)
        places = Places(paths_of(config), agent=config.agent.name, owner=owner)
        stack.callback(places.close)
        self.store = Store.open(config.agent.state_dir, now=clock.now_us())
        stack.callback(self.store.close)
        self.marks = Marks(
            config.agent.state_dir / "running", count=config.agent.max_workers, boot=read_boot_id()
        )
        stack.callback(self.marks.close)
        memory = remember(self.store)
        self.live = self._make_live(memory)
        self.console: Relay[Sequence[Filed]] = Relay("console", show)
        self.ledger = self._make_ledger(memory, places, end_orphans(self.marks))
        stack.callback(self.ledger.close_places)
        self.pool = self._make_pool(attempt, abort)
        self.intake = self._make_intake()
        self.once = Once(intake=self.intake, ledger=self.ledger, live=self.live) if once else None
        self.supervisor = Supervisor(
            self._services(),
            # Beyond the grace: the end of commands that used it up, and of the agent itself.
            grace=config.agent.shutdown_grace + config.processor.kill_grace + _OWN_END_SECONDS,
            beat=self._beat,
            on_start=partial(self._say_started, started),
            on_stop=lambda: self.live.phase("stopping"),
            force=partial(self._force, abort),
        )
        if self.once is not None:
            self.once.supervise(self.supervisor)
        self.live.phase("recovering")

    @property
    def exit_code(self) -> int:
        """
        0, or with `once` 1 if a file failed or was rejected, or not all could be worked off.
        """
        return int(self.once is not None and (self._bad or not self.once.done))

    def explain(self, crash: ServiceCrashError) -> None:
        """
        Raise what ended the agent, once the next start can deal with it.
        """
        cause = crash.__cause__
        if isinstance(cause, CorruptStoreError):
            self.store.mark_corrupt(str(cause))
        raise cause if isinstance(cause, StoreError) else crash

    def _services(self) -> list[Service]:
        config = self._config
        size = DirectorySize(lambda: self.keeper.current().fd, self.live.directory_bytes)
        services: list[Service] = [
            self.console,
            HttpServer(self._web(), config.http.metrics_host, config.http.metrics_port, live=self.live),
            self.ledger,
            self.pool,
            size,
            self._make_sampler(),
            self._make_disk_watch(),
            ThreadService("integrity", self._check_store),
            self.intake,
        ]
        return services if self.once is None else [*services, self.once]

    def _make_live(self, memory: Memory) -> Live:
        live = Live(
            max_workers=self._config.agent.max_workers,
            command_name=os.path.basename(processor_name(self._config)),
            totals=memory.totals,
            recent=memory.recent,
            last_success_at=memory.last_success_at,
            store_id=self.store.store_id,
        )
        live.warn("sqlite", old_sqlite(Store.sqlite_version))
        if self.store.set_aside is not None:
            live.warn("set_aside", f"the store was damaged and set aside as {self.store.set_aside}")
        return live

    def _make_ledger(self, memory: Memory, places: Places, left_behind: Sequence[Mark]) -> Ledger:
        config = self._config
        ledger = open_ledger(
            memory,
            store=self.store,
            places=places,
            marks=self.marks,
            left_behind=left_behind,
            live=self.live,
            author=author_of(config),
            announce=self._announce,
            look_ahead=config.agent.look_ahead,
            max_waiting=config.retry.max_waiting,
            max_delay=config.retry.max_delay,
            scan_interval=config.agent.scan_interval,
        )
        self.keeper = HandoffKeeper(ledger=ledger, path=config.agent.handoff_dir)
        return ledger

    def _make_pool(self, attempt: Attempt, abort: Abort) -> WorkerPool:
        return WorkerPool(
            count=self._config.agent.max_workers,
            ready=self.ledger.admission,
            attempt=attempt,
            marks=self.marks,
            live=self.live,
            abort=abort,
            grace=self._config.agent.shutdown_grace,
            kill_grace=self._config.processor.kill_grace,
        )

    def _make_intake(self) -> Intake:
        agent = self._config.agent
        intake = Intake(
            handoff=self.keeper.current(),
            names=NameFilter(agent.pattern, own_folders(self._config)),
            admission=self.ledger.admission,
            live=self.live,
            on_replaced=self.keeper.on_replaced,
            watch_mode=cast("Mode", agent.watch),
            settle=agent.settle,
            settle_max=agent.settle_max,
            scan_interval=agent.scan_interval,
        )
        self.ledger.admission.on_room(intake.wake)
        return intake

    def _make_sampler(self) -> Sampler:
        return Sampler(
            self._config.history.sample_interval,
            paths=self._disks,
            directory_bytes=lambda: self.live.snapshot().gauges.directory_bytes,
            deliver=[self.live.sample, self.ledger.post, self._measure_store],
        )

    def _make_disk_watch(self) -> DiskWatch:
        return DiskWatch(
            self._disks,
            min_free=self._config.agent.min_free,
            pause=self.ledger.set_pause,
            resume=lambda reason: self.ledger.set_pause(reason, None),
            stands=lambda: PauseReason.DISK in self.ledger.pauses,
        )

    def _web(self) -> WSGIApplication:
        return make_app(
            snapshot=self.live.snapshot,
            version=__version__,
            config_hash=config_hash(self._config),
            hosts=(*self._config.http.allowed_hosts, self._config.http.metrics_host),
        )

    def _announce(self, files: Sequence[Filed]) -> None:
        if any(filed.outcome in _BAD for filed in files):
            self._bad = True
        self.console.send(files)

    def _measure_store(self, sample: Sample) -> None:
        self.live.set(store_bytes=self.store.size_bytes())
        with suppress(StoreError), self.store.reader() as connection:
            self.live.set(history_oldest_at=queries.first_finished_at(connection))

    def _say_started(self, started: Callable[[], None]) -> None:
        self.live.phase("running")
        started()

    def _beat(self) -> None:
        self.live.beat()
        late = self.pool.late()
        if late:
            message = f"{late[0].worker}: the handler of {late[0].file_id} is past its deadline"
            self.live.health("worker_pool", "unhealthy", message)
        else:
            self.live.health("worker_pool", "healthy")
        self.pool.check()

    def _check_store(self, stop: threading.Event) -> None:
        try:
            damages = self.store.quick_check(_CHECK_SECONDS)
        except StoreError as error:
            log.warning("the store's integrity could not be checked: %s", error)
            return
        if damages:
            self.live.health("store", "unhealthy", f"the database is damaged: {damages[0]}")
            log.error("the database is damaged, the next start sets it aside: %s", "; ".join(damages))
            self.store.mark_corrupt("\n".join(damages))

    def _force(self, abort: Abort) -> None:
        """
        Kill what runs, now; none of it counts as an interruption.
        """
        self.pool.request_stop()
        abort.set()
        deadline = Deadline.after(_FORCE_SECONDS)
        # Again and again: a worker may have been about to start something.
        while True:
            end_processes(self.marks.left_behind())
            if self.pool.join(Deadline.after(_LOOK_SECONDS)) or deadline.expired:
                break
        self.marks.clear_all()
