"""
How many files the ledger takes, and the queue of those ready to run.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from conductor_loop.metrics.live import Live
from conductor_loop.model import Arrival, Job, Report


@dataclass(frozen=True, slots=True)
class Offer:
    """
    Settled files that intake hands over, oldest first.
    """

    arrivals: Sequence[Arrival]


class Admission:
    """
    Stands between intake, ledger and workers; every method may be called from any thread and returns at once,
    except `take`.

    Args:
        look_ahead: files claimed and ready to run, besides repeated attempts, at most.
        live: shown the depth of the queue.
        post: takes offers and reports to the ledger.
    """

    def __init__(self, *, look_ahead: int, live: Live, post: Callable[[Offer | Report], None]) -> None:
        self._look_ahead = look_ahead
        self._live = live
        self._post = post
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._offered: set[str] = set()
        self._held: set[str] = (
            set()
        )  #: claimed, and for some reason in the handoff directory; these take no room
        self._first = 0  #: ready for their first attempt; the look-ahead bounds these alone, so that
        self._again = 0  #: files that are ready for another one, or tried again, cannot starve new files
        self._paused = False
        self._closed = False
        self._starved = False
        self._wake: Callable[[], None] = lambda: None

    # what intake uses

    def on_room(self, wake: Callable[[], None]) -> None:
        """
        Set what is called when there is room again after there was none.
        """
        self._wake = wake

    def room(self) -> int:
        """
        Return how many files may be offered now.
        """
        with self._lock:
            room = 0 if self._paused else self._look_ahead - self._first - len(self._offered)
            self._starved = self._starved or room <= 0
            return max(0, room)

    def paused(self) -> bool:
        """
        Tell whether intake is paused.
        """
        return self._paused

    def in_hand(self, name: str) -> bool:
        """
        Tell whether a file of this name was offered and is not yet out of the handoff directory.
        """
        return name in self._offered or name in self._held

    def offer(self, arrivals: Sequence[Arrival]) -> None:
        """
        Hand over settled files.
        """
        with self._lock:
            self._offered.update(arrival.name for arrival in arrivals)
        self._post(Offer(arrivals))

    # what workers use

    def take(self) -> Job | None:
        """
        Wait for a job; None: there will be no more, or `dismiss` asks the caller to look whether it is still wanted.
        """
        job = self._queue.get()
        if self._closed:
            self._queue.put(None)  # for the next worker
            return None
        if job is None:
            return None
        with self._lock:
            self._count(job, -1)
        self._wake_if_half_empty()
        return job

    def dismiss(self, count: int) -> None:
        """
        Let `take` return None so many times, as soon as nothing is queued.
        """
        for _ in range(count):
            self._queue.put(None)

    def report(self, report: Report) -> None:
        """
        Tell the ledger what came of a job.
        """
        self._post(report)

    # what the ledger uses

    def push(self, job: Job) -> None:
        """
        Put a claimed file into the queue.
        """
        with self._lock:
            self._count(job, 1)
        self._queue.put(job)

    def hold(self, name: str) -> None:
        """
        Say that a file in the handoff directory is claimed already, so that it is not offered again.
        """
        with self._lock:
            self._offered.discard(name)
            self._held.add(name)

    def try_hold(self, name: str) -> bool:
        """
        Do the same for a file that is about to get back there, unless another one of that name is in hand.
        """
        with self._lock:
            if self.in_hand(name):
                return False
            self._held.add(name)
            return True

    def settled(self, names: Sequence[str]) -> None:
        """
        Say that offered files are out of the handoff directory, or given up.
        """
        with self._lock:
            self._offered.difference_update(names)
            self._held.difference_update(names)
        self._wake_if_half_empty()

    def pause(self, paused: bool) -> None:
        """
        Stop or resume taking files.
        """
        self._paused = paused
        if not paused:
            self._wake()

    def close(self) -> None:
        """
        Let no worker take another job; what is queued stays in its slot for the next start.
        """
        self._closed = True
        self._queue.put(None)

    def resize(self, look_ahead: int) -> None:
        """
        Replace the look-ahead; what is queued beyond a smaller one stays queued.
        """
        with self._lock:
            self._look_ahead = look_ahead
        self._wake()

    def room_again(self) -> int:
        """
        Return how many files may be queued for another attempt now.
        """
        return self._look_ahead - self._again

    def _wake_if_half_empty(self) -> None:
        # Half, because a wake-up for every single place costs more than the place is worth.
        with self._lock:
            wake = self._starved and (self._first + len(self._offered)) * 2 <= self._look_ahead
            self._starved = self._starved and not wake
        if wake:
            self._wake()

    def _count(self, job: Job, change: int) -> None:
        if job.attempt == 1 and not job.retry:
            self._first += change
        else:
            self._again += change
        self._live.queue_depth = self._first + self._again
