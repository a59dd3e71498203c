"""
Keeping the watch alive.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conductor_loop.intake import guard as module
from conductor_loop.intake.guard import WatchGuard
from conductor_loop.intake.hints import Hint, Hints
from conductor_loop.intake.probe import Probe
from intake_ports import OpenDirectory, Told


class FakeWatch:
    """
    A watch that does what a test wants.
    """

    fails: OSError | None = None

    def __init__(self, path: Path, **callbacks: Any) -> None:
        self.callbacks = callbacks
        self.alive = False
        self.stopped = False

    def start(self) -> None:
        if FakeWatch.fails is not None:
            raise FakeWatch.fails
        self.alive = True

    def stop(self) -> None:
        self.alive = False
        self.stopped = True


class Bench:
    """
    A guard with everything around it.
    """

    def __init__(self, path: Path, mode: Any) -> None:
        self.told = Told()
        self.hints = Hints()
        self.watches: list[FakeWatch] = []
        self.probe = Probe(interval=30.0, echo_seconds=10.0)
        self.handoff = OpenDirectory(path)
        self.guard = WatchGuard(
            mode=mode,
            accepts=lambda name: name.endswith(".json"),
            hints=self.hints,
            live=self.told,
            probe=self.probe,
            make_watch=self.make,
        )

    def make(self, path: Path, **callbacks: Any) -> FakeWatch:
        self.watches.append(FakeWatch(path, **callbacks))
        return self.watches[-1]


@pytest.fixture
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """
    A guard in mode auto, or the one named by the parameter.
    """
    one = Bench(tmp_path, getattr(request, "param", "auto"))
    FakeWatch.fails = None
    yield one
    one.guard.close()
    one.handoff.close()


def health(bench: Bench) -> str:
    """
    Return what the component says of itself.
    """
    return bench.told.states["fsnotify_watcher"]


def test_local_directory_is_watched(bench: Bench) -> None:
    """
    And read once after the watch stands, for what came before it.
    """
    bench.guard.open(bench.handoff)

    assert health(bench) == "healthy"
    assert bench.told.gauges["watch_mode"] == "inotify"
    assert bench.told.warnings["watch"] is None
    assert bench.hints.take() == ({}, True)


@pytest.mark.parametrize("bench", ["auto", "poll", "inotify"], indirect=True)
def test_network_directory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It is polled unless inotify is asked for; either way there is a warning and no worse health.
    """
    monkeypatch.setattr(module, "fstype_of", lambda _: "nfs4")
    bench.guard.open(bench.handoff)

    inotify = bench.guard._mode == "inotify"
    assert bench.guard.network
    assert bool(bench.watches) is inotify
    assert bench.told.gauges["watch_mode"] == ("inotify" if inotify else "poll")
    assert "nfs4" in str(bench.told.warnings["watch"])
    assert health(bench) == "healthy"


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "max_user_watches"), (errno.EMFILE, "max_user_instances"), (errno.EIO, "output error")],
)
def test_watch_that_cannot_start(bench: Bench, number: int, words: str) -> None:
    """
    Polling goes on, health is degraded and says which limit to raise; it is tried again, more and more rarely.
    """
    FakeWatch.fails = OSError(number, os.strerror(number))
    bench.guard.open(bench.handoff)

    assert health(bench) == "degraded"
    assert words in bench.told.said[-1][2]
    assert bench.told.gauges["watch_mode"] == "poll"
    bench.guard.tick(0.0)
    assert len(bench.watches) == 1
    retry_at = bench.guard._retry_at
    assert retry_at is not None
    bench.guard.tick(retry_at)
    assert len(bench.watches) == 2
    assert bench.guard._retry_at is not None
    assert bench.guard._retry_at - retry_at > 45

    FakeWatch.fails = None
    bench.guard.tick(bench.guard._retry_at)
    assert health(bench) == "healthy"
    assert bench.told.gauges["watch_mode"] == "inotify"


def test_dead_watch_is_started_again(bench: Bench) -> None:
    """
    Degraded until an event of our own came through the new one.
    """
    bench.guard.open(bench.handoff)
    bench.hints.take()
    bench.watches[0].alive = False
    bench.guard.tick(1.0)

    assert bench.watches[0].stopped
    assert len(bench.watches) == 2
    assert health(bench) == "degraded"
    assert bench.hints.take() == ({}, True)
    bench.guard.tick(2.0)
    bench.watches[1].callbacks["on_hint"](bench.probe.name, Hint.CLOSED)
    bench.guard.tick(3.0)
    assert health(bench) == "healthy"
    assert len(bench.told.probes) == 1


def test_missing_echo_restarts_the_watch(bench: Bench) -> None:
    """
    A watch that looks alive and hears nothing is the worst kind.
    """
    bench.guard.open(bench.handoff)
    bench.guard.tick(1.0)
    sent = bench.probe._sent_at
    assert sent is not None
    bench.guard.tick(sent + 9.9)
    assert len(bench.watches) == 1
    bench.guard.tick(sent + 10.1)

    assert len(bench.watches) == 2
    assert health(bench) == "degraded"
    assert list(bench.handoff.path.iterdir()) == []


def test_probe_in_a_directory_that_is_not_writable_is_skipped(bench: Bench, tmp_path: Path) -> None:
    """
    A read-only directory is no reason to doubt the watch.
    """
    fd = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY)
    try:
        bench.probe.tick(fd, 1.0)
    finally:
        os.close(fd)

    assert not bench.probe.missing(1e9)


def test_overflow_is_counted_and_asks_for_a_scan(bench: Bench) -> None:
    """
    The event of the probe may be among the lost ones, so it is not waited for.
    """
    bench.guard.open(bench.handoff)
    bench.guard.tick(1.0)
    bench.hints.take()
    bench.watches[0].callbacks["on_overflow"]()

    assert bench.told.overflows == 1
    assert bench.hints.take() == ({}, True)
    assert not bench.probe.missing(1e9)


def test_only_our_names_reach_the_buffer(bench: Bench) -> None:
    """
    Neither the temporary files of producers nor the probe wake intake.
    """
    bench.guard.open(bench.handoff)
    bench.hints.take()
    for name in ("x.json", "y.txt", bench.probe.name):
        bench.watches[0].callbacks["on_hint"](name, Hint.MOVED)

    assert bench.hints.take() == ({"x.json": Hint.MOVED}, False)


def test_unknown_watchdog_is_used_as_it_comes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With a warning, because events may come late then.
    """
    monkeypatch.setattr(module, "hooks_work", lambda: False)
    bench.guard.open(bench.handoff)

    assert bench.watches[0].callbacks["stock"] is True
    assert "watchdog" in str(bench.told.warnings["watchdog"])
