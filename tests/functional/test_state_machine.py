"""
The life of files, played at random against a ledger that is killed again and again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from conductor_loop import clock
from conductor_loop.errors import ConductorError
from conductor_loop.ledger import ledger as ledger_module
from conductor_loop.ledger import moves, status, syncer
from conductor_loop.ledger.marks import Mark
from conductor_loop.model import (
    Again,
    Arrival,
    Failed,
    FoundBy,
    Identity,
    Interrupted,
    Job,
    Kind,
    Rejected,
    Succeeded,
    Unsettled,
    Verdict,
)
from conservation import assert_conserved, rows_of
from ledgers import Bench, running
from waiting import wait_until

NAMES = ["intent-a.json", "intent-\udcff.json", "intent-" + "l" * 230 + ".json"]
VERDICTS: list[Verdict] = [
    Succeeded(),
    Failed(Kind.COMMAND_FAILED, "no such cell"),
    Rejected(Kind.MISSING_FIELD, "no target"),
    Again(Kind.SIGNAL, "killed", delay=0.0),
    Unsettled(delay=0.0),
    Interrupted(),
]
STEPS = [
    f"{moment} {step}"
    for step in ("commit", "claim", "naming", "filing", "link")
    for moment in ("before", "after")
]
QUICK = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking would take minutes
)


class KilledError(BaseException):
    """
    The end of the ledger's thread in the middle of what it does; no handler of the product takes it.
    """


@dataclass
class Barrier:
    """
    A message that tells when everything before it is done.
    """

    passed: threading.Event = field(default_factory=threading.Event)


class PowerCut:
    """
    A message that is the end.
    """


class Life(RuleBasedStateMachine):
    """
    The test is intake, workers, producers, consumers and the power switch.
    """

    def __init__(self) -> None:
        super().__init__()
        fast = "/dev/shm"
        self.root = Path(tempfile.mkdtemp(dir=fast if os.access(fast, os.W_OK) else None))
        self.handoff = self.root / "handoff"
        self.contents: dict[bytes, str] = {}  #: of every file dropped, no two alike -> its name
        self.taken: set[bytes] = set()  #: contents that somebody took away, from wherever
        self.gone: set[int] = set()  #: numbers of files that were taken away once they had one
        self.foreign: dict[str, bytes] = {}
        self.jobs: list[Job] = []
        self.outcomes: dict[int, tuple[Any, ...]] = {}
        self.fatal = ""  #: the step at which the ledger dies
        self.flushing = False
        self.patches = pytest.MonkeyPatch()
        self.context: AbstractContextManager[Bench]
        self.bench: Bench

    @initialize(linking=st.sampled_from([False, False, True]), flushing=st.booleans())
    def start(self, linking: bool, flushing: bool) -> None:
        """
        Begin, with `linking` on a file system whose moves are link and unlink, with `flushing` so that rows are closed
        soon, before which nothing is tried again.
        """
        self._patch_moves()
        if flushing:
            self.patches.setattr(ledger_module, "_FLUSH", 0.002)
            self.patches.setattr(syncer, "_GAP", 0.002)
        self.flushing = flushing
        if linking:
            self.patches.setattr(moves, "_renameat2", lambda *args: errno.EINVAL)
        self._start({})

    # producers and intake

    @rule(name=st.sampled_from(NAMES), offered=st.booleans())
    def drop(self, name: str, offered: bool) -> None:
        if not os.path.lexists(self._path(name)):
            content = b"%d" % len(self.contents)
            self.bench.drop(name, content)
            self.contents[content] = name
        if offered:
            self.offer()

    @rule(verdict=st.sampled_from(VERDICTS[:2]))
    def drop_the_same_name_again_after_its_end(self, verdict: Verdict) -> None:
        for _ in range(2):
            self.drop(NAMES[0], offered=True)
            self._settle_alive()
            if not self.bench.ledger.admission._queue.empty():
                self.take_and_report(verdict)
                self._settle_alive()
        self.drop(NAMES[0], offered=True)

    @rule()
    def offer(self) -> None:
        self.bench.ledger.admission.offer(list(self._arrivals()))

    @rule()
    def take_back_what_is_offered(self) -> None:
        arrivals = list(self._arrivals())
        for arrival in arrivals:
            self._take_away(self._path(arrival.name))
        self.bench.ledger.admission.offer(arrivals)

    # workers

    @precondition(lambda self: not self.bench.ledger.admission._queue.empty())
    @rule()
    def take(self) -> None:
        self.jobs.append(self.bench.take())

    @precondition(lambda self: not self.bench.ledger.admission._queue.empty())
    @rule(verdict=st.sampled_from(VERDICTS[:2]))
    def take_and_report(self, verdict: Verdict) -> None:
        self.take()
        self._report(verdict)

    @precondition(lambda self: self.jobs)
    @rule(verdict=st.sampled_from(VERDICTS))
    def report(self, verdict: Verdict) -> None:
        self._report(verdict)

    @precondition(lambda self: len(self.jobs) > 1)
    @rule(verdict=st.sampled_from(VERDICTS))
    def report_all(self, verdict: Verdict) -> None:
        while self.jobs:
            self._report(verdict)

    # administrators

    @rule(which=st.integers(0, 3))
    def try_again(self, which: int) -> None:
        ended = [row for row in rows_of(self.root) if row["outcome"] in {"failed", "rejected"}]
        if not ended:
            return
        number = ended[which % len(ended)]["number"]
        if self.flushing:
            wait_until(lambda: self._closed(number) or self.bench.crashes, step=0.0005)
        with contextlib.suppress(ConductorError):
            self.bench.ledger.retry(number)

    # others

    @rule(name=st.sampled_from(["processed/{}", "failed/{}", "failed/{}.error.log"]))
    def put_a_foreign_file(self, name: str) -> None:
        shown = name.format(NAMES[0])
        if not os.path.lexists(self._path(shown)):
            self.foreign[shown] = f"foreign {shown}".encode()
            Path(self._path(shown)).write_bytes(self.foreign[shown])

    @precondition(lambda self: self.jobs)
    @rule()
    def take_away_what_runs(self) -> None:
        job = self.jobs[-1]
        self._take_away(self._path(f"work/{job.relative}"))
        self.gone.add(job.number)

    @rule()
    def consume_what_is_processed(self) -> None:
        for row in rows_of(self.root):
            place = f"processed/{row['target']}"
            if row["outcome"] == "processed" and place not in self.foreign and row["number"] not in self.gone:
                self._consume(row["number"], self._path(place))

    # the power switch

    @rule(step=st.sampled_from(STEPS))
    def die_at(self, step: str) -> None:
        self.fatal = step

    @rule()
    def die_now(self) -> None:
        self._kill()

    @rule()
    def restart_in_order(self) -> None:
        while self.jobs:
            self._report(Interrupted())
        self._settle()
        if not self.bench.crashes:
            self.fatal = ""
            self._end()
            self._start({})

    # what always holds

    @invariant()
    def nothing_is_lost_or_overwritten(self) -> None:
        if hasattr(self, "bench"):
            self._settle_alive()
            self._check_contents()
            self._check_rows()

    def teardown(self) -> None:
        try:
            if hasattr(self, "bench"):
                self._work_off()
                assert_conserved(self.root, foreign=self.foreign, gone=self.gone)
        finally:
            self.patches.undo()
            shutil.rmtree(self.root)

    def _work_off(self) -> None:
        self.fatal = ""
        self._kill()  # what was interrupted waits for the next start
        self._settle()
        self.offer()
        self._settle()
        while len(self.bench.ledger.book):
            self.take()
            self._report(Succeeded())
            self._settle()
        self._check_contents()
        self._end()

    # the ledger's life

    def _start(self, marks: dict[str, Mark]) -> None:
        self.context = running(self.root, marks=marks)
        self.bench = self.context.__enter__()
        ledger = self.bench.ledger
        ledger._handlers[Barrier] = lambda barrier, page: page.after.append(barrier.passed.set)
        ledger._handlers[PowerCut] = lambda message, page: self._die()
        commit = self.bench.store.writer.commit

        def fatal_commit(changes: Any) -> None:
            self._pass("before commit")
            commit(changes)
            self._pass("after commit")

        self.patches.setattr(self.bench.store.writer, "commit", fatal_commit)

    def _kill(self) -> None:
        """
        End the ledger, if it still lives, and start another one with the marks of what was running.
        """
        self.bench.ledger.post(PowerCut())
        wait_until(lambda: self.bench.crashes, step=0.0005)
        self.bench.crashes.clear()
        self._end()
        marks = {
            job.id: Mark(id=job.id, attempt=job.attempt, interruptions=job.interruptions, boot="boot")
            for job in self.jobs
        }
        self.jobs = []
        self.fatal = ""
        self._start(marks)

    def _end(self) -> None:
        self.context.__exit__(None, None, None)

    def _settle_alive(self) -> None:
        self._settle()
        if self.bench.crashes:
            self._kill()
            self._settle()

    def _settle(self) -> None:
        """
        Wait until the ledger has done what it was told, and what follows from that in the next turns.
        """
        for _ in range(4):
            barrier = Barrier()
            self.bench.ledger.post(barrier)
            wait_until(lambda: barrier.passed.is_set() or self.bench.crashes, step=0.0005)  # noqa: B023

    def _patch_moves(self) -> None:
        rename = moves.rename_noreplace

        def fatal_rename(source_fd: int, source: str, target_fd: int, target: str) -> None:
            step = "claim" if "/" in target else "naming" if source.startswith(status.TEMPORARY) else "filing"
            self._pass(f"before {step}")
            rename(source_fd, source, target_fd, target)
            self._pass(f"after {step}")

        link = os.link

        def fatal_link(*args: Any, **named: Any) -> None:
            self._pass("before link")
            link(*args, **named)
            self._pass("after link")

        self.patches.setattr(moves, "rename_noreplace", fatal_rename)
        self.patches.setattr(os, "link", fatal_link)

    def _pass(self, step: str) -> None:
        if self.fatal == step:
            self._die()

    def _die(self) -> None:
        raise KilledError

    # small things

    def _path(self, name: str) -> str:
        return os.path.join(self.handoff, name)

    def _arrivals(self) -> Iterator[Arrival]:
        for name in NAMES:
            if os.path.lexists(self._path(name)) and not self.bench.ledger.admission.in_hand(name):
                identity = Identity.from_stat(os.stat(self._path(name)))
                yield Arrival(name, identity, FoundBy.SCAN, clock.now_us())

    def _closed(self, number: int) -> bool:
        return any(row["number"] == number and row["filed_at"] for row in rows_of(self.root))

    def _report(self, verdict: Verdict) -> None:
        fields = {"run": None} if isinstance(verdict, (Rejected, Unsettled, Interrupted)) else {}
        self.bench.report(self.jobs.pop(0), verdict, **fields)

    def _take_away(self, path: str) -> None:
        if os.path.lexists(path):
            self.taken.add(Path(path).read_bytes())
            os.unlink(path)

    def _consume(self, number: int, path: str) -> None:
        if os.path.lexists(path):
            self._take_away(path)
            self.gone.add(number)

    def _check_contents(self) -> None:
        found: Counter[bytes] = Counter()
        for folder in ("", "work", "processed", "failed"):
            for path in (self.handoff / folder).glob("*/*/*" if folder == "work" else "*"):
                shown = str(path.relative_to(self.handoff))
                if shown in self.foreign:
                    assert path.read_bytes() == self.foreign[shown]
                elif path.is_file() and path.suffix != ".log" and not path.name.startswith(status.TEMPORARY):
                    found[path.read_bytes()] += 1
        assert found == Counter(self.contents.keys() - self.taken)

    def _check_rows(self) -> None:
        now: dict[int, tuple[Any, ...]] = {
            row["number"]: (row["outcome"], row["kind"], row["message"], row["attempts"])
            for row in rows_of(self.root)
            if row["outcome"] is not None
        }
        assert {number: now.get(number) for number in self.outcomes} == self.outcomes
        self.outcomes = now


def test_whatever_happens_every_file_ends_once() -> None:
    """A few lives, for every run of the tests."""
    run_state_machine_as_test(Life, settings=QUICK)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_whatever_happens_for_longer_every_file_ends_once() -> None:
    """More and longer lives."""
    run_state_machine_as_test(Life, settings=settings(QUICK, max_examples=60, stateful_step_count=50))
