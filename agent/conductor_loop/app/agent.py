"""
All parts of one agent, wired.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import cast
from wsgiref.types import WSGIApplication

from conductor_loop import __version__, logs
from conductor_loop.app.administration import Administration
from conductor_loop.app.foundation import lay_foundation
from conductor_loop.app.inheritance import end_processes
from conductor_loop.app.integrity import IntegrityCheck
from conductor_loop.app.once import Once
from conductor_loop.app.parts import keep_seconds, make_attempter, own_folders, paths_of
from conductor_loop.app.reload import Reloader
from conductor_loop.app.running import Running
from conductor_loop.config import Config, Loaded, admin_socket
from conductor_loop.errors import ConflictError, CorruptStoreError, ServiceCrashError, StoreError
from conductor_loop.host.directory import DirectorySize
from conductor_loop.host.disk import DiskWatch
from conductor_loop.host.sampler import Sampler
from conductor_loop.http.admin import make_admin_app
from conductor_loop.http.routes import make_app
from conductor_loop.http.server import AdminServer, HttpServer
from conductor_loop.intake.guard import Mode
from conductor_loop.intake.intake import Intake
from conductor_loop.intake.names import NameFilter
from conductor_loop.ledger.clock_guard import ClockGuard
from conductor_loop.ledger.handoff import HandoffKeeper
from conductor_loop.ledger.retention import Retention
from conductor_loop.model import Filed, Outcome, PauseReason, Sample
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.runtime.relay import Relay
from conductor_loop.runtime.service import Service
from conductor_loop.runtime.supervisor import Supervisor
from conductor_loop.store import queries
from conductor_loop.work.handler import Handler
from conductor_loop.work.pool import Attempt, WorkerPool
from conductor_loop.work.process import Abort

log = logging.getLogger(__name__)

_FORCE_SECONDS = 2.0  #: until what cannot be killed, a python handler, is left behind by a stop at once
_OWN_END_SECONDS = 10.0  #: for the last commits, once all running work has ended
_LOOK_SECONDS = 0.05  #: between two looks whether `--once` is done

_BAD = (Outcome.FAILED, Outcome.REJECTED)

Show = Callable[[Sequence[Filed]], None]


class Agent:
    """
    All parts of one agent, wired.

    Args:
        stack: closes what must outlive the services.
        once: end when everything there is worked off.
        load: reads the configuration again; None where it cannot be read again.
        embedded: it is part of somebody else's process, which nothing here may end.
        handler: called with each file instead of what the configuration names.
        show: told of filed files, in a thread of its own.
        started: called when everything runs.
    """

    def __init__(
        self,
        config: Config,
        stack: ExitStack,
        *,
        load: Callable[[], Loaded] | None = None,
        once: bool = False,
        embedded: bool = False,
        handler: Handler | None = None,
        show: Show,
        started: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        owner = f"the agent {config.agent.name!r}, process {os.getpid()}"
        self._disks = [config.agent.handoff_dir, config.agent.state_dir, config.processor.out_dir]
        self._embedded = embedded
        self._bad = False
        abort = Abort()
        stack.callback(abort.close)
        # First, for it finds mistakes in the configuration.
        attempt = make_attempter(config, abort, handler).run_once
        self.console: Relay[Sequence[Filed]] = Relay("console", show, insist=embedded, held=True)
        base = lay_foundation(config, owner, stack, announce=self._announce)
        self.store, self.marks, self.live, self.ledger = base.store, base.marks, base.live, base.ledger
        self.keeper = HandoffKeeper(ledger=self.ledger, path=config.agent.handoff_dir)
        self.pool = self._make_pool(attempt, abort)
        self.intake = self._make_intake()
        self.sampler = self._make_sampler()
        self.disk = self._make_disk_watch()
        self.retention = self._make_retention(base.totals)
        self.reloader = self._make_reloader(load or _cannot_load, abort)
        self.once = Once(intake=self.intake, ledger=self.ledger, live=self.live) if once else None
        self.supervisor = Supervisor(
            self._services(),
            # Beyond the grace: the end of commands that used it up, and of the agent itself.
            grace=self.pool.stop_seconds + _OWN_END_SECONDS,
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

    def raise_cause(self, crash: ServiceCrashError) -> None:
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
        web = self._web()
        services: list[Service] = [
            self.console,
            HttpServer(web, config.http.metrics_host, config.http.metrics_port, live=self.live),
            AdminServer(self._admin(web), admin_socket(config), live=self.live),
            self.ledger,
            self.pool,
            size,
            self.sampler,
            self.disk,
            IntegrityCheck(store=self.store, live=self.live),
            self.retention,
            self.intake,
        ]
        return services if self.once is None else [*services, self.once]

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

    def _make_retention(self, totals: Mapping[tuple[str, str], int]) -> Retention:
        return Retention(
            reader=self.store.reader,
            store_id=self.store.store_id,
            totals=totals,
            paths=paths_of(self._config),
            post=self.ledger.post,
            guard=ClockGuard(totals=totals, live=self.live),
            **keep_seconds(self._config),
        )

    def _make_reloader(self, load: Callable[[], Loaded], abort: Abort) -> Reloader:
        parts = Running(
            pool=self.pool,
            ledger=self.ledger,
            intake=self.intake,
            disk=self.disk,
            sampler=self.sampler,
            live=self.live,
            abort=abort,
            others=[
                lambda config: self.retention.configure(**keep_seconds(config)),
                lambda config: self.supervisor.set_grace(self.pool.stop_seconds + _OWN_END_SECONDS),
                lambda config: logs.set_level(config.log.level),
            ],
        )
        return Reloader(self._config, load=load, parts=parts, live=self.live)

    def _web(self) -> WSGIApplication:
        return make_app(
            snapshot=self.live.snapshot,
            version=__version__,
            config_hash=self.reloader.config_hash,
            hosts=(*self._config.http.allowed_hosts, self._config.http.metrics_host),
        )

    def _admin(self, web: WSGIApplication) -> WSGIApplication:
        administration = Administration(
            store=self.store,
            ledger=self.ledger,
            marks=self.marks,
            live=self.live,
            reload=self.reloader.reload,
            stop=lambda: self.supervisor.request_stop("asked over the admin socket"),
        )
        return make_admin_app(administration=administration, paths=paths_of(self._config), pages=web)

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
        self.console.release()  # so that what is said of the start comes before what is said of files

    def _beat(self) -> None:
        self.live.beat()
        late = self.pool.late()
        if late:
            message = f"{late[0].worker}: the handler of {late[0].file_id} is past its deadline"
            self.live.health("worker_pool", "unhealthy", message)
        else:
            self.live.health("worker_pool", "healthy")
        if not self._embedded:
            self.pool.check()

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


def _cannot_load() -> Loaded:
    raise ConflictError(
        "this agent is part of another program, which gives it its configuration; start it there with another one"
    )
