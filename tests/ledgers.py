"""
A ledger over real directories and a real store, with the test in the place of intake and workers.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conductor_loop import clock
from conductor_loop.ledger import recovery
from conductor_loop.ledger.book import Book
from conductor_loop.ledger.ledger import Ledger
from conductor_loop.ledger.marks import Mark
from conductor_loop.ledger.page import Page
from conductor_loop.ledger.places import Paths, Places
from conductor_loop.ledger.restore import Restorer
from conductor_loop.ledger.survey import survey
from conductor_loop.metrics.live import Live
from conductor_loop.model import (
    Arrival,
    Author,
    Filed,
    FoundBy,
    Identity,
    Job,
    Report,
    Run,
    Succeeded,
    Verdict,
)
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.store import queries
from conductor_loop.store.database import Store
from waiting import wait_until


def paths_below(root: Path) -> Paths:
    """
    Return the default layout.
    """
    handoff = root / "handoff"
    return Paths(
        handoff=handoff,
        work=handoff / "work",
        processed=handoff / "processed",
        failed=handoff / "failed",
        status=handoff / "status",
    )


@dataclass
class Bench:
    """
    A running ledger and what a test wants to see of it.
    """

    root: Path
    store: Store
    places: Places
    live: Live
    ledger: Ledger
    filed: list[Filed] = field(default_factory=list)
    crashes: list[BaseException] = field(default_factory=list)
    actions: Sequence[recovery.Action] = ()

    @property
    def handoff(self) -> Path:
        return self.places.paths.handoff

    def drop(self, name: str, content: bytes = b"{}") -> Arrival:
        """
        Put a file into the handoff directory, as settled.
        """
        path = os.path.join(os.fsencode(self.handoff), os.fsencode(name))
        with open(path, "wb") as file:
            file.write(content)
        return Arrival(name, Identity.from_stat(os.stat(path)), FoundBy.EVENT, clock.now_us())

    def offer(self, *names: str) -> None:
        """
        Drop files and offer them.
        """
        self.ledger.admission.offer([self.drop(name) for name in names])

    def take(self) -> Job:
        """
        Take the next job, as a worker does.
        """
        job = self.ledger.admission.take()
        assert job is not None
        return job

    def report(self, job: Job, verdict: Verdict | None = None, **fields: object) -> None:
        """
        Report on a job; by default it succeeded.
        """
        run = Run(started_at=clock.now_us(), duration=0.25, exit_code=0)
        values: dict[str, object] = {"run": run, "sha256": "ab" * 32, "size": 2, **fields}
        self.ledger.admission.report(
            Report(job=job, verdict=verdict or Succeeded(), finished_at=clock.now_us(), **values)  # type: ignore[arg-type]
        )

    def row(self, number: int) -> queries.FileRow:
        """
        Return a row as the store has it.
        """
        with self.store.reader() as connection:
            row = queries.file(connection, number)
        assert row is not None
        return row

    def listing(self, folder: str) -> list[str]:
        """
        Return the names in `processed`, `failed` or `status`.
        """
        return sorted(os.listdir(getattr(self.places.paths, folder)))

    def attempts(self, number: int) -> list[queries.PastAttempt]:
        """
        Return the attempts of a file as the store has them.
        """
        with self.store.reader() as connection:
            return queries.attempts(connection, number)

    def process(self, name: str, verdict: Verdict | None = None, **fields: object) -> queries.FileRow:
        """
        Drop a file, take it, report on it; return its row once it is filed.
        """
        self.offer(name)
        job = self.take()
        self.report(job, verdict, **fields)
        self.wait_filed(job)
        return self.row(job.number)

    def wait_filed(self, *jobs: Job) -> None:
        """
        Wait until these files are filed.
        """
        wait_until(lambda: {job.id for job in jobs} <= {filed.id for filed in self.filed})

    @contextmanager
    def held(self) -> Iterator[None]:
        """
        Have the ledger do nothing meanwhile; what it is told then comes in one batch.
        """

        class Hold:
            pass

        reached, go_on = threading.Event(), threading.Event()

        def hold(message: Hold, page: Page) -> None:
            reached.set()
            go_on.wait(10)

        self.ledger._handlers[Hold] = hold
        self.ledger.post(Hold())
        assert reached.wait(10)
        try:
            yield
        finally:
            go_on.set()

    def status(self, row: queries.FileRow) -> dict[str, Any]:
        """
        Return what a file's status file says.
        """
        assert row.status_name is not None
        found: dict[str, Any] = json.loads((self.places.paths.status / row.status_name).read_bytes())
        return found


@contextmanager
def running(
    root: Path, *, paths: Paths | None = None, marks: Mapping[str, Mark] | None = None, **options: object
) -> Iterator[Bench]:
    """
    Recover and run a ledger on the directories below `root`; on the way out it must stop and close every row it filed.
    """
    state = root / "state"
    state.mkdir(parents=True, exist_ok=True)
    places = Places(paths or paths_below(root), agent="agent", owner="a test")
    store = Store.open(state, now=clock.now_us())
    with store.reader() as connection:
        rows = queries.open_files(connection)
        totals = queries.totals(connection)
        highest = queries.highest_number(connection)
        pauses = queries.pauses(connection)
        first_starts = queries.first_starts(connection)
    actions = recovery.plan(survey(places, rows, marks or {}, store.store_id))
    live = Live(max_workers=1, command_name="porch", totals=totals)
    filed: list[Filed] = []
    settings: dict[str, object] = {"look_ahead": 64, "max_waiting": 1000, "scan_interval": 0.1, **options}
    ledger = Ledger(
        writer=store.writer,
        reader=store.reader,
        book=Book(store_id=store.store_id, totals=totals, highest_number=highest),
        places=places,
        live=live,
        author=Author(processed_by="conductor-loop", mode="direct", porch_path="porch"),
        announce=filed.extend,
        restore=Restorer(actions, outputs={}, first_starts=first_starts, max_delay=300.0, done=lambda: None),
        **settings,  # type: ignore[arg-type]
    )
    ledger.pauses.load(pauses)
    bench = Bench(root, store, places, live, ledger, filed, actions=actions)
    ledger.start(lambda name, error: bench.crashes.append(error))
    try:
        yield bench
    finally:
        ledger.admission.close()
        ledger.request_stop()
        ended = ledger.join(Deadline.after(20))
        store.close()
        for each in {id(p): p for p in [ledger.claims.places, places]}.values():
            each.close()
        assert ended
        assert not bench.crashes
