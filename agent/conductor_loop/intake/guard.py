"""
Keeps the watch alive, or says why there is none; scans find everything meanwhile.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from typing import Literal, Protocol

from conductor_loop.intake.hints import Hint, Hints
from conductor_loop.intake.mounts import fstype_of, is_network
from conductor_loop.intake.ports import Handoff, Live
from conductor_loop.intake.probe import Probe
from conductor_loop.intake.watch import Watch, hooks_work

log = logging.getLogger(__name__)

Mode = Literal["auto", "inotify", "poll"]

COMPONENT = "fsnotify_watcher"
FIRST_RETRY = 60.0  #: seconds; doubled up to the longest, for watchdog 6 leaks three descriptors per failure
LONGEST_RETRY = 3600.0  #: seconds

_LIMITS = {
    errno.ENOSPC: "the limit of inotify watches is reached, raise sysctl fs.inotify.max_user_watches",
    errno.EMFILE: "the limit of inotify instances is reached, raise sysctl fs.inotify.max_user_instances",
}


class StartsAndStops(Protocol):
    """
    A watch, as far as the guard cares.
    """

    def start(self) -> None: ...

    def stop(self) -> None: ...

    @property
    def alive(self) -> bool: ...


class WatchGuard:
    """
    Owns the watch; all methods in one thread.

    Args:
        mode: `auto` polls where inotify hears nothing of other machines.
        accepts: tells of a name whether it is ours.
        hints: gets the names.
        live: is told how the watch is.
        probe: finds out whether events still come.
        make_watch: a parameter for tests.
    """

    def __init__(
        self,
        *,
        mode: Mode,
        accepts: Callable[[str], bool],
        hints: Hints,
        live: Live,
        probe: Probe,
        make_watch: Callable[..., StartsAndStops] = Watch,
    ) -> None:
        self._mode = mode
        self._accepts = accepts
        self._hints = hints
        self._live = live
        self._probe = probe
        self._make_watch = make_watch
        self._watch: StartsAndStops | None = None
        self._stock: bool | None = None
        self._retry = FIRST_RETRY
        self._retry_at: float | None = None
        self._doubted = False
        self.network = False  #: whether the directory is on a network file system

    def accept(self, accepts: Callable[[str], bool]) -> None:
        """
        Replace what tells whether a name is ours.
        """
        self._accepts = accepts

    def open(self, handoff: Handoff) -> None:
        """
        Watch this directory from now on.
        """
        self.close()
        self._handoff = handoff
        fstype = fstype_of(handoff.path)
        self.network = is_network(fstype)
        self._live.warn("watch", self._warning(fstype) if self.network else None)
        if self._mode == "poll" or (self._mode == "auto" and self.network):
            self._live.set(watch_mode="poll")
            self._live.health(COMPONENT, "healthy", "polling")
        else:
            self._start()

    def close(self) -> None:
        """
        Stop watching; safe to call twice.
        """
        self._probe.cancel()
        self._retry_at = None
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def tick(self, now: float) -> None:
        """
        Look after the watch; to be called about once a second.
        """
        if self._watch is None:
            if self._retry_at is not None and now >= self._retry_at:
                self._start()
        elif not self._watch.alive:
            self._restart("a thread of the watch ended")
        else:
            self._tick_probe(self._handoff.fd, now)

    def _tick_probe(self, dir_fd: int, now: float) -> None:
        if self._probe.missing(now):
            self._restart("no event came for a file of our own")
            return
        seconds = self._probe.tick(dir_fd, now)
        if seconds is not None:
            self._live.probe(seconds)
            if self._doubted:
                self._doubted = False
                self._live.health(COMPONENT, "healthy")

    def _restart(self, why: str) -> None:
        log.warning("watching anew: %s", why)
        self.close()
        self._doubted = True
        self._live.health(COMPONENT, "degraded", f"{why}; watching anew, scans find the files meanwhile")
        self._start()

    def _start(self) -> None:
        if self._stock is None:
            self._stock = self._must_use_stock()
        watch = self._make_watch(
            self._handoff.path,
            on_hint=self._on_hint,
            on_overflow=self._on_overflow,
            on_gone=self._hints.ask_scan,
            stock=self._stock,
        )
        try:
            watch.start()
        except OSError as error:
            self._poll_until_retry(error)
            return
        self._watch = watch
        self._retry, self._retry_at = FIRST_RETRY, None
        self._live.set(watch_mode="inotify")
        if not self._doubted:
            self._live.health(COMPONENT, "healthy")
        self._hints.ask_scan()  # what came before the watch stood

    def _poll_until_retry(self, error: OSError) -> None:
        why = _LIMITS.get(error.errno or 0, str(error))
        log.warning("cannot watch %s: %s; polling instead", self._handoff.path, why)
        self._live.set(watch_mode="poll")
        self._live.health(COMPONENT, "degraded", f"cannot watch {self._handoff.path}: {why}; polling instead")
        self._retry_at = time.monotonic() + self._retry
        self._retry = min(2 * self._retry, LONGEST_RETRY)

    def _must_use_stock(self) -> bool:
        try:
            works = hooks_work()
        except OSError as error:
            log.info("the self-test of the watch could not run: %s", error)
            return False
        if not works:
            log.warning("this version of watchdog does not take our event mask; using it as it comes")
        self._live.warn("watchdog", None if works else "unknown watchdog version: events may come 0.5s late")
        return not works

    def _warning(self, fstype: str) -> str:
        polled = self._mode != "inotify"
        return (
            f"{self._handoff.path} is on a network file system ({fstype}), where writes of other machines raise no "
            f"events: {'it is polled' if polled else 'only scans find their files'}"
        )

    def _on_hint(self, name: str, hint: Hint) -> None:
        if self._accepts(name):
            self._hints.put(name, hint)
        elif name == self._probe.name:
            self._probe.echo()

    def _on_overflow(self) -> None:
        self._live.overflowed()
        self._probe.cancel()  # its event may be among the lost ones
        self._hints.ask_scan()
