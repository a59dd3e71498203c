"""
From names to offers: who waits for what, and whose turn it is.
"""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Callable

from conductor_loop import clock
from conductor_loop.intake.hints import Hint
from conductor_loop.intake.ports import Admission
from conductor_loop.intake.scan import MOST_FILES, Found
from conductor_loop.intake.settle import Candidate, Settler, Wait, next_look
from conductor_loop.model import Arrival, FoundBy, Identity

MOST_CANDIDATES = 20_000  #: about 10 MB; other names stay with the scan


class Readiness:
    """
    Knows the names of one directory that may become ready; all methods in one thread.

    A name is in the backlog (found by the last scan), or it is a candidate: ripe, or waiting for a moment.

    Args:
        dir_fd: the directory.
        admission: takes the files.
        settler: decides when.
        full: called when ready files begin to wait because the look-ahead is full.
        most: candidates at most.
    """

    def __init__(
        self,
        *,
        dir_fd: int,
        admission: Admission,
        settler: Settler,
        full: Callable[[], None],
        most: int = MOST_CANDIDATES,
    ) -> None:
        self._dir_fd = dir_fd
        self._admission = admission
        self._settler = settler
        self._call_full = full
        self._most = most
        self._candidates: dict[str, Candidate] = {}
        self._ripe: list[
            tuple[int, str]
        ] = []  # a heap of (ctime_ns, name), exactly the candidates marked ripe
        self._waiting: list[
            tuple[float, str]
        ] = []  # a heap of (due, name); stale where the candidate's due differs
        self._backlog: list[tuple[int, str, int]] = []  # (-ctime_ns, name, discovered_at), the newest first
        self._truncated = False
        self._dropped = False
        self._full = False
        self._last_moved = (
            0  # nanoseconds; strictly rising, so that those of one microsecond keep their order
        )

    def hint(self, name: str, hint: Hint, now: float) -> None:
        """
        Take note of an event.
        """
        candidate = self._candidates.get(name)
        if candidate is None:
            if len(self._candidates) >= self._most:
                self._dropped = True
                return
            candidate = self._candidates[name] = Candidate(FoundBy.EVENT, clock.now_us())
        candidate.renamed_in = hint is Hint.MOVED
        if candidate.renamed_in:
            candidate.identity = candidate.written_since = None  # another file under that name
            candidate.look_again = 0.0
        if candidate.ripe:
            return
        if candidate.renamed_in:
            # Without a look: beside busy threads every system call waits for the interpreter. The event came as the
            # rename set the ctime, so its moment serves as well for the order.
            self._last_moved = max(self._last_moved + 1, candidate.discovered_at * 1000)
            self._ripen(name, candidate, self._last_moved)
        else:
            self._look(name, candidate, now)

    def reconsider(self, accepts: Callable[[str], bool], settle: float, now: float) -> None:
        """
        Take over other settings: forget the names that are not ours any more, and look again at all that wait.
        """
        self._settler.settle = settle
        self._backlog = [entry for entry in self._backlog if accepts(entry[1])]
        self._candidates = {name: c for name, c in self._candidates.items() if accepts(name)}
        self._ripe = [entry for entry in self._ripe if entry[1] in self._candidates]
        heapq.heapify(self._ripe)
        for name, candidate in self._candidates.items():
            if candidate.due is not None:
                self._wait(name, candidate, now)

    def scan_begins(self) -> None:
        """
        Say that from now on a pass over the directory is under way.
        """
        self._truncated = self._dropped = False

    def scan_ended(self, found: Found, moment_us: int) -> None:
        """
        Replace the backlog by what a pass has found.
        """
        before = {entry[1]: entry for entry in self._backlog}
        backlog = []
        for ctime, name in found.oldest:
            if name not in self._candidates:
                known = before.get(name)
                backlog.append(known if known and known[0] == ctime else (ctime, name, moment_us))
        self._backlog = backlog
        self._truncated = found.truncated

    def advance(self, now: float) -> None:
        """
        Look again at the files whose moment has come.
        """
        while self._waiting and self._waiting[0][0] <= now:
            due, name = heapq.heappop(self._waiting)
            candidate = self._candidates.get(name)
            if candidate is not None and candidate.due == due:
                self._look(name, candidate, now)

    def offer(self, now: float) -> int:
        """
        Offer the oldest ready files as long as there is room; return how many.
        """
        offered = 0
        while self._has_turn():
            room = (
                self._admission.room()
            )  # asked until it is 0: only then are we woken when there is room again
            if room <= 0:
                self._note_full()
                return offered
            batch = self._take(room, now)
            if batch:
                self._admission.offer(batch)
                offered += len(batch)
        self._full = False
        return offered

    def next_due(self) -> float:
        """
        Return when `advance` has something to do; infinite if never.
        """
        return self._waiting[0][0] if self._waiting else float("inf")

    def oldest_at(self) -> int | None:
        """
        Return the moment of the last change of the file that is longest ready or waiting.
        """
        moments = [
            c.identity.ctime_ns if c.identity is not None else c.discovered_at * 1000
            for c in self._candidates.values()
        ]
        if self._backlog:
            moments.append(-self._backlog[-1][0])
        return min(moments) // 1000 if moments else None

    def still_written(self, since: float) -> int:
        """
        Count the files that have not been ready since then because somebody writes to them.
        """
        return sum(
            1
            for c in self._candidates.values()
            if c.due is not None and c.written_since is not None and c.written_since <= since
        )

    @property
    def wants_scan(self) -> bool:
        """
        Tell whether there are more files in the directory than we know and room to know them.
        """
        return (self._truncated and len(self._backlog) * 10 < MOST_FILES) or (
            self._dropped and len(self._candidates) * 2 < self._most
        )

    @property
    def empty(self) -> bool:
        return not self._candidates and not self._backlog

    def _look(self, name: str, candidate: Candidate, now: float) -> None:
        identity = self._identity(name)
        if identity is None:
            del self._candidates[name]
            return
        left = self._settler.time_left(candidate, identity, now=now, wall_us=clock.now_us())
        if left > 0:
            self._wait_for_writer(name, candidate, now, now + left)
            return
        if not candidate.look_again:
            candidate.written_since = None
        self._ripen(name, candidate, identity.ctime_ns)

    def _ripen(self, name: str, candidate: Candidate, ctime_ns: int) -> None:
        candidate.ripe, candidate.due = True, None
        heapq.heappush(self._ripe, (ctime_ns, name))

    def _wait_for_writer(self, name: str, candidate: Candidate, now: float, until: float) -> None:
        if candidate.written_since is None:
            candidate.written_since = now
        self._wait(name, candidate, until)

    def _wait(self, name: str, candidate: Candidate, until: float) -> None:
        candidate.due = until
        heapq.heappush(self._waiting, (until, name))

    def _has_turn(self) -> bool:
        return bool(self._ripe) or self._may_draw()

    def _may_draw(self) -> bool:
        return bool(self._backlog) and len(self._candidates) < self._most

    def _take(self, room: int, now: float) -> list[Arrival]:
        batch: dict[str, Arrival] = {}
        while len(batch) < room and self._has_turn():
            name, candidate = self._next()
            if candidate is None:
                continue
            # In hand comes before the look: a name that is claimed between the two is seen to be gone, whereas
            # the other way round it would be offered again and end as vanished.
            if name in batch or self._admission.in_hand(name):
                self._wait(name, candidate, now + next_look(candidate))
                continue
            arrival = self._judge(name, candidate, now)
            if arrival is not None:
                batch[name] = arrival
        return list(batch.values())

    def _next(self) -> tuple[str, Candidate | None]:
        """
        Return the oldest name, or None for its candidate where another one has come before.
        """
        if self._ripe and not (self._may_draw() and -self._backlog[-1][0] < self._ripe[0][0]):
            name = heapq.heappop(self._ripe)[1]
            candidate = self._candidates[name]
            candidate.ripe = False
            return name, candidate
        _, name, moment = self._backlog.pop()
        if name in self._candidates:
            return name, None
        candidate = self._candidates[name] = Candidate(FoundBy.SCAN, moment)
        return name, candidate

    def _judge(self, name: str, candidate: Candidate, now: float) -> Arrival | None:
        identity = self._identity(name)
        try:
            if identity is None:
                raise FileNotFoundError(name)
            decision = self._settler.judge(name, candidate, identity, now=now, wall_us=clock.now_us())
        except FileNotFoundError:
            del self._candidates[name]
            return None
        if isinstance(decision, Wait):
            self._wait_for_writer(name, candidate, now, decision.until)
            return None
        del self._candidates[name]
        return Arrival(name, identity, candidate.found_by, candidate.discovered_at)

    def _identity(self, name: str) -> Identity | None:
        """
        Return what a name stands for; None if that is no regular file, or not to be found out.
        """
        try:
            seen = os.stat(name, dir_fd=self._dir_fd, follow_symlinks=False)
        except OSError:
            return None
        return Identity.from_stat(seen) if stat.S_ISREG(seen.st_mode) else None

    def _note_full(self) -> None:
        # Once until all could be offered: every file that leaves a full look-ahead fills it again.
        if not self._full and not self._admission.paused():
            self._full = True
            self._call_full()
