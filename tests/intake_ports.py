"""
Stand-ins for what intake needs of others, and an intake that runs in a test.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conductor_loop.intake.intake import Intake
from conductor_loop.intake.names import NameFilter
from conductor_loop.model import Arrival
from conductor_loop.runtime.deadline import Deadline
from waiting import wait_until


class OpenDirectory:
    """
    A handoff directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        seen = os.fstat(self.fd)
        self.identity = (seen.st_dev, seen.st_ino)

    def close(self) -> None:
        os.close(self.fd)


class Taker:
    """
    An admission that notes what it is offered and, if told to, takes the files out of the directory at once.

    Args:
        takes_from: the directory from which offered files are removed; None leaves them in hand.
        room: how many files are taken before the next `allow`; None for all.
    """

    def __init__(self, *, takes_from: Path | None = None, room: int | None = None) -> None:
        self.arrivals: list[Arrival] = []
        self.stopped = False
        self.hands: set[str] = set()
        self._from = takes_from
        self._room = room
        self._lock = threading.Lock()

    def room(self) -> int:
        with self._lock:
            if self.stopped:
                return 0
            return 1000 if self._room is None else self._room

    def allow(self, room: int) -> None:
        with self._lock:
            self._room = room

    def paused(self) -> bool:
        return self.stopped

    def in_hand(self, name: str) -> bool:
        return name in self.hands

    def offer(self, arrivals: Sequence[Arrival]) -> None:
        with self._lock:
            if self._room is not None:
                self._room -= len(arrivals)
            if self._from is None:
                self.hands.update(arrival.name for arrival in arrivals)
            else:
                for arrival in arrivals:
                    (self._from / arrival.name).unlink()
            self.arrivals.extend(arrivals)

    @property
    def names(self) -> list[str]:
        return [arrival.name for arrival in self.arrivals]


class Told:
    """
    Live metrics that keep what they are told.
    """

    def __init__(self) -> None:
        self.backpressures = 0
        self.overflows = 0
        self.probes: list[float] = []
        self.gauges: dict[str, Any] = {}
        self.states: dict[str, str] = {}
        self.said: list[tuple[str, str, str]] = []
        self.warnings: dict[str, str | None] = {}

    def backpressure(self) -> None:
        self.backpressures += 1

    def overflowed(self) -> None:
        self.overflows += 1

    def probe(self, seconds: float) -> None:
        self.probes.append(seconds)

    def health(self, component: str, state: str, message: str = "") -> None:
        self.states[component] = state
        self.said.append((component, state, message))

    def warn(self, key: str, message: str | None) -> None:
        self.warnings[key] = message

    def set(self, **gauges: Any) -> None:
        self.gauges.update(gauges)


class Reopen:
    """
    What opens the directory that is at the path now, and keeps the old ones open as the agent does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.changes: list[str] = []
        self.opened: list[OpenDirectory] = [OpenDirectory(path)]

    def __call__(self, change: str) -> OpenDirectory | None:
        self.changes.append(change)
        try:
            self.opened.append(OpenDirectory(self.path))
        except OSError:
            return None
        return self.opened[-1]

    def close(self) -> None:
        for directory in self.opened:
            directory.close()


class Running:
    """
    An intake that runs, with everything around it.
    """

    def __init__(self, path: Path, taker: Taker | None, options: dict[str, Any]) -> None:
        self.path = path
        self.taker = taker or Taker(takes_from=path)
        self.told = Told()
        self.reopen = Reopen(path)
        self.crashes: list[BaseException] = []
        names = options.pop("names", NameFilter("*.json"))
        self.intake = Intake(
            handoff=self.reopen.opened[0],
            names=names,
            admission=self.taker,
            live=self.told,
            on_replaced=self.reopen,
            **{"settle": 0.2, "scan_interval": 60.0, "tick_interval": 0.1, **options},
        )

    def wait_scanned(self) -> None:
        """
        Wait until the first scan has ended.
        """
        wait_until(lambda: "handoff_files" in self.told.gauges)

    def wait_names(self, *names: str, timeout: float = 10.0) -> None:
        """
        Wait until exactly these were offered, in any order.
        """
        wait_until(lambda: len(self.taker.arrivals) >= len(names), timeout)
        assert sorted(names) == sorted(self.taker.names)


@contextmanager
def running(path: Path, taker: Taker | None = None, **options: Any) -> Iterator[Running]:
    """
    Run an intake on a directory; its scans come only once a minute, so that what is found came by an event.
    """
    with started(Running(path, taker, options)) as run:
        yield run


@contextmanager
def started(run: Running) -> Iterator[Running]:
    """
    Have an intake run.
    """
    run.intake.start(lambda _, error: run.crashes.append(error))
    try:
        yield run
    finally:
        run.intake.request_stop()
        ended = run.intake.join(Deadline.after(10.0))
        run.reopen.close()
        assert ended
        assert run.crashes == []


def drop(path: Path, name: str, text: str = "{}") -> None:
    """
    Write a file elsewhere on the file system and rename it in.
    """
    temporary = path.parent / f"{threading.get_ident()}.dropping"
    temporary.write_text(text)
    temporary.rename(path / name)
