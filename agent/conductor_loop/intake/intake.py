"""
The service that finds the files which are ready and offers them to the ledger.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from conductor_loop.intake.guard import COMPONENT, Mode, StartsAndStops, WatchGuard
from conductor_loop.intake.hints import Hints
from conductor_loop.intake.names import NameFilter
from conductor_loop.intake.place import Place
from conductor_loop.intake.ports import Admission, Change, Handoff, Live, OnReplaced
from conductor_loop.intake.probe import Probe
from conductor_loop.intake.readiness import Readiness
from conductor_loop.intake.scan import Found, Schedule
from conductor_loop.intake.settle import Settler
from conductor_loop.intake.watch import Watch
from conductor_loop.ledger.lease import writer_has_at
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.runtime.service import OnCrash, ThreadService

log = logging.getLogger(__name__)

_ENTER_SECONDS = 10.0  #: that a start waits for the watch; scans do its work until it is there
TICK_SECONDS = 1.0  #: an idle agent wakes no more often


class Terms(NamedTuple):
    """
    What may change while it runs; see `Intake`.
    """

    names: NameFilter
    settle: float
    settle_max: float
    scan_interval: float


class Intake:
    """
    A service with one thread; moves nothing, and opens files only to ask for a lease.

    Args:
        handoff: the watched directory.
        names: which names are ours.
        admission: takes the files.
        live: is told how it goes.
        on_replaced: opens another directory when there is one at the path.
        watch_mode: `auto`, `inotify` or `poll`.
        settle: seconds for which a file written in place must be unchanged.
        settle_max: seconds after which a file that is still written is reported.
        scan_interval: seconds between two scans.
        probe_interval: seconds between two probes of the watch.
        tick_interval: seconds between two looks at the directory's inode and the watch.
        make_watch: a parameter for tests, as is `writer_has`.
    """

    name = "intake"

    def __init__(
        self,
        *,
        handoff: Handoff,
        names: NameFilter,
        admission: Admission,
        live: Live,
        on_replaced: OnReplaced,
        watch_mode: Mode = "auto",
        settle: float = 0.5,
        settle_max: float = 600.0,
        scan_interval: float = 5.0,
        probe_interval: float = 30.0,
        tick_interval: float = TICK_SECONDS,
        make_watch: Callable[..., StartsAndStops] = Watch,
        writer_has: Callable[[int, str], bool | None] = writer_has_at,
    ) -> None:
        self._path = handoff.path
        self._first = handoff
        self._admission = admission
        self._live = live
        self._on_replaced = on_replaced
        self._terms = self._wanted = Terms(names, settle, settle_max, scan_interval)
        self._tick_interval = tick_interval
        self._writer_has = writer_has
        self._hints = Hints()
        self._guard = WatchGuard(
            mode=watch_mode,
            accepts=names.accepts,
            hints=self._hints,
            live=live,
            probe=Probe(interval=probe_interval),
            make_watch=make_watch,
        )
        self._schedule = Schedule(scan_interval)
        self._place: Place | None = None
        self._tick_at = 0.0
        self._idle = False
        self._entered = threading.Event()
        self._thread = ThreadService(self.name, self._run, wake=self._hints.wake)

    def start(self, on_crash: OnCrash) -> None:
        """
        Start, and return when events are listened to: a file dropped from then on does not wait for a scan.
        """
        self._thread.start(on_crash)
        self._entered.wait(_ENTER_SECONDS)

    def request_stop(self) -> None:
        self._thread.request_stop()

    def join(self, deadline: Deadline) -> bool:
        return self._thread.join(deadline)

    @property
    def alive(self) -> bool:
        return self._thread.alive

    def wake(self) -> None:
        """
        Say that there is room again, or a pause was lifted; any thread, returns at once.
        """
        self._hints.wake()

    def ask_scan(self) -> None:
        """
        Have the directory read without waiting for its turn; any thread, returns at once.
        """
        self._hints.ask_scan()

    def configure(self, *, names: NameFilter, settle: float, settle_max: float, scan_interval: float) -> None:
        """
        Replace what may change while it runs, and scan; any thread, returns at once.
        """
        self._wanted = Terms(names, settle, settle_max, scan_interval)
        self._hints.ask_scan()

    def idle(self) -> bool:
        """
        Tell whether the last scan found no file of ours and none was offered since; any thread.

        A file that was offered and is not yet claimed is still in the directory, so there is none of these either.
        Ask this first and then whether the ledger has work: what was claimed before is its own.
        """
        return self._idle and self._hints.empty

    def _run(self, stop: threading.Event) -> None:
        try:
            self._enter(self._first)
            self._entered.set()
            while not stop.is_set():
                self._hints.wait(self._pause_until() - time.monotonic())
                self._step(time.monotonic())
        finally:
            self._entered.set()
            self._leave()

    def _pause_until(self) -> float:
        """
        Return the moment at which there is something to do even if nobody says so.
        """
        place = self._place
        if place is None:
            return self._tick_at
        if place.scanning:
            return 0.0
        return min(self._tick_at, place.readiness.next_due(), self._schedule.due)

    def _step(self, now: float) -> None:
        if not self._hints.empty:
            self._idle = False  # before they are taken: another thread asks for both together
        names, lost = self._hints.take()
        if self._wanted is not self._terms:
            self._take_over(now)
            names = {name: hint for name, hint in names.items() if self._terms.names.accepts(name)}
        if lost:
            self._schedule.ask()
        if now >= self._tick_at:
            self._tick(now)
        place = self._place
        if place is None:
            return
        for name, hint in names.items():
            place.readiness.hint(name, hint, now)
        place.readiness.advance(now)
        self._scan(place, now)
        if self._place is place:
            place.offer(now)
            self._idle = place.clean and place.readiness.empty

    def _take_over(self, now: float) -> None:
        self._terms = terms = self._wanted
        self._schedule.interval = terms.scan_interval
        self._guard.accept(terms.names.accepts)
        if self._place is not None:
            self._place.reconsider(terms.names.accepts, terms.settle, now)

    def _tick(self, now: float) -> None:
        self._tick_at = now + self._tick_interval
        self._check_directory()
        if self._place is not None:
            self._guard.tick(now)
            self._tell(self._place.readiness, now)

    def _tell(self, readiness: Readiness, now: float) -> None:
        self._live.set(
            oldest_pending_at=readiness.oldest_at(),
            still_written=readiness.still_written(now - self._terms.settle_max),
        )

    def _scan(self, place: Place, now: float) -> None:
        """
        Begin a pass over the directory when it is due, or go on with it for one chunk.
        """
        if place.readiness.wants_scan:
            self._schedule.ask()
        if not place.scanning:
            if now < self._schedule.due:
                return
            self._check_directory()
            if self._place is not place:
                return
            self._schedule.begin()
        try:
            found = place.scan(self._terms.names.accepts)
        except OSError as error:
            self._lose("missing", f"cannot be read: {error.strerror}")
            return
        if found is not None:
            self._tell_found(place, found)

    def _tell_found(self, place: Place, found: Found) -> None:
        self._schedule.end(time.monotonic(), place.scan_seconds)
        self._live.set(handoff_files=found.files, ignored_entries=found.ignored)

    def _check_directory(self) -> None:
        """
        Notice when another directory, or none, is at the path, or one is there again.
        """
        try:
            seen = os.stat(self._path)
        except OSError as error:
            if self._place is not None:
                self._lose("missing", f"is gone: {error.strerror}")
            return
        if self._place is None:
            if stat.S_ISDIR(seen.st_mode):
                self._try_enter("back")
        elif (seen.st_dev, seen.st_ino) != self._place.handoff.identity:
            self._lose("replaced", "was replaced")

    def _lose(self, change: Change, what: str) -> None:
        log.warning("the handoff directory %s %s", self._path, what)
        self._leave()
        self._live.health(COMPONENT, "degraded", f"the handoff directory {self._path} {what}")
        self._try_enter(change)

    def _try_enter(self, change: Change) -> None:
        handoff = self._on_replaced(change)
        if handoff is not None:
            self._enter(handoff)

    def _enter(self, handoff: Handoff) -> None:
        self._guard.open(handoff)
        settler = Settler(
            settle=self._terms.settle,
            observe=self._guard.network,
            writer_has=lambda name: self._writer_has(handoff.fd, name),
        )
        readiness = Readiness(
            dir_fd=handoff.fd, admission=self._admission, settler=settler, full=self._live.backpressure
        )
        self._place = Place(handoff, readiness)
        self._schedule.ask()

    def _leave(self) -> None:
        self._idle = False
        self._guard.close()
        self._hints.take()
        if self._place is not None:
            self._place.close()
            self._place = None
