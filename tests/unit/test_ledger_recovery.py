"""
What recovery decides, row by row of the table, and that doing it twice changes nothing.
"""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor_loop.clock import SECOND
from conductor_loop.ledger import moves
from conductor_loop.ledger.marks import Mark
from conductor_loop.ledger.places import Places
from conductor_loop.ledger.recovery import Action, Adopt, Claim, Close, File, Poison, Resume, Vanish, plan
from conductor_loop.ledger.survey import Facts, Found, Stray, survey
from conductor_loop.model import Identity, Kind, Outcome
from conductor_loop.store import queries
from conductor_loop.store.changes import Changes, EndRow
from conductor_loop.store.database import Store
from conductor_loop.store.queries import FileRow
from conservation import rows_of
from ledgers import paths_below, running
from store_rows import NOW, claim, end, filed, wait
from waiting import wait_until

FILE = Identity(1, 100, 20, 30, 40)
RENAMED = FILE._replace(ctime_ns=41)
OTHER = Identity(1, 101, 20, 30, 40)
CHANGED = FILE._replace(size=21, mtime_ns=31, ctime_ns=41)


def row(**own: Any) -> FileRow:
    values: dict[str, Any] = dict.fromkeys(FileRow.__dataclass_fields__)
    values |= {
        "number": 1,
        "name": "intent-1.json",
        "agent": "agent",
        "slot": 0,
        "identity": FILE,
        "found_by": "event",
        "discovered_at": NOW,
        "claimed_at": NOW,
        "attempts": 0,
        "interruptions": 0,
    }
    return FileRow(**values | own)


def ended(**own: Any) -> FileRow:
    values: dict[str, Any] = {
        "outcome": "processed",
        "finished_at": NOW,
        "target": "intent-1.json",
        "status_name": "intent-1.json.status",
    }
    return row(**values | own)


def mark(interruptions: int = 0, started_at: int | None = None) -> Mark:
    return Mark(id="store-1", attempt=1, interruptions=interruptions, boot="boot", started_at=started_at)


ONCE_INTERRUPTED = row(interruptions=1)
TWICE_INTERRUPTED = row(interruptions=2)
RETRY = row(retry_of=7, retry_target="intent-1-s-7.json")
ENDED_RETRY = ended(retry_of=7, retry_target="intent-1-s-7.json")
VANISHED = ended(outcome="vanished", kind="vanished", target=None, status_name=None)


@pytest.mark.parametrize(
    ("found", "action"),
    [
        # no outcome
        (Found(row=row(), in_slot=RENAMED), Resume(row(), 0)),
        (Found(row=row(), in_slot=CHANGED), Resume(row(), 0)),
        (Found(row=row(), in_slot=OTHER), Resume(row(), 0)),
        (Found(row=row(), in_slot=RENAMED, in_handoff=OTHER), Resume(row(), 0)),
        (Found(row=row(), in_slot=RENAMED, mark=mark()), Resume(row(), 1)),
        (Found(row=ONCE_INTERRUPTED, in_slot=RENAMED), Resume(ONCE_INTERRUPTED, 1)),
        (Found(row=ONCE_INTERRUPTED, in_slot=RENAMED, mark=mark(0)), Resume(ONCE_INTERRUPTED, 1)),
        (Found(row=ONCE_INTERRUPTED, in_slot=RENAMED, mark=mark(1)), Resume(ONCE_INTERRUPTED, 2)),
        (Found(row=TWICE_INTERRUPTED, in_slot=RENAMED, mark=mark(2)), Poison(TWICE_INTERRUPTED, 3)),
        (Found(row=row(interruptions=3), in_slot=RENAMED, mark=mark(2)), Poison(row(interruptions=3), 3)),
        (Found(row=row(), in_slot=RENAMED, mark=mark(0, NOW)), Resume(row(), 1, NOW)),
        (Found(row=row(), in_slot=RENAMED, mark=mark(2, NOW)), Poison(row(), 3, NOW)),
        (Found(row=row(), in_handoff=FILE), Claim(row())),
        (Found(row=row(), in_handoff=RENAMED), Claim(row())),
        (Found(row=row(), in_handoff=OTHER), Vanish(row())),
        (Found(row=row(), in_handoff=CHANGED), Vanish(row())),
        (Found(row=row()), Vanish(row())),
        (Found(row=row(), mark=mark()), Vanish(row())),
        # of a retry, that comes from failed/
        (Found(row=RETRY, in_slot=RENAMED), Resume(RETRY, 0)),
        (Found(row=RETRY, in_slot=RENAMED, mark=mark()), Resume(RETRY, 1)),
        (Found(row=RETRY, in_failed=FILE), Claim(RETRY)),
        (Found(row=RETRY, in_failed=RENAMED), Claim(RETRY)),
        (Found(row=RETRY, in_failed=CHANGED), Claim(RETRY)),
        (Found(row=RETRY, in_failed=OTHER), Claim(RETRY)),  # an editor's
        (Found(row=RETRY, in_handoff=FILE), Vanish(RETRY)),
        (Found(row=RETRY), Vanish(RETRY)),
        # an outcome
        (Found(row=ended(), in_slot=RENAMED), File(ended())),
        (Found(row=ended(), in_slot=CHANGED), File(ended())),
        (Found(row=ended(), in_slot=RENAMED, status_ours=True), File(ended())),
        (Found(row=ended(), in_slot=RENAMED, in_target=OTHER), File(ended())),
        (Found(row=ended(), in_slot=RENAMED, mark=mark(2)), File(ended())),
        (Found(row=ended(), in_target=RENAMED, status_ours=True), Close(ended(), rewrite_status=False)),
        (Found(row=ended(), in_target=RENAMED), Close(ended(), rewrite_status=True)),
        (Found(row=ended(), in_target=CHANGED), Close(ended(), rewrite_status=True)),
        (Found(row=ended(), in_target=OTHER), Close(ended(), rewrite_status=False)),
        (Found(row=ended(), in_handoff=FILE), File(ended(), undone=True)),
        (Found(row=ended(), in_handoff=OTHER), Close(ended(), rewrite_status=False)),
        (Found(row=ended()), Close(ended(), rewrite_status=False)),
        (Found(row=ENDED_RETRY, in_failed=FILE), File(ENDED_RETRY, undone=True)),
        (Found(row=ENDED_RETRY, in_failed=RENAMED), Close(ENDED_RETRY, rewrite_status=False)),
        (Found(row=ENDED_RETRY, in_handoff=FILE), Close(ENDED_RETRY, rewrite_status=False)),
        (Found(row=ENDED_RETRY, in_failed=FILE, in_target=FILE), Close(ENDED_RETRY, rewrite_status=True)),
        (Found(row=VANISHED), Close(VANISHED, rewrite_status=False)),
        (Found(row=VANISHED, in_handoff=FILE), Close(VANISHED, rewrite_status=False)),
    ],
)
def test_each_state_and_place_has_its_action(found: Found, action: object) -> None:
    """The table of recovery."""
    assert plan(Facts([found], [])) == [action]


def test_a_file_put_back_by_somebody_is_not_filed_unrun() -> None:
    """Only a file that no rename has touched since its claim lost its moves; any other was dropped again."""
    found = Found(row=ended(), in_handoff=RENAMED)

    assert plan(Facts([found], [])) == [Close(ended(), rewrite_status=False)]


def test_strays_are_adopted_after_the_rows() -> None:
    """A file without a row is a new claim."""
    stray = Stray("agent", 3, "intent-9.json", OTHER)

    assert plan(Facts([Found(row=row(), in_slot=FILE)], [stray])) == [Resume(row(), 0), Adopt(stray)]


def test_every_action_says_what_it_does() -> None:
    """`doctor` and the log name the file."""
    stray = Stray("agent", 3, "intent-9.json", OTHER)
    actions: list[Action] = [
        Resume(row(), 0),
        Resume(row(), 1),
        Poison(row(), 3),
        Claim(row()),
        Claim(RETRY),
        Vanish(row()),
        File(ended()),
        Close(ended(), rewrite_status=True),
    ]

    assert all("file 1 (intent-1.json)" in action.describe() for action in actions)
    assert len({action.describe() for action in actions}) == len(actions)
    assert "agent/3/intent-9.json" in Adopt(stray).describe()


HALF_CLAIMED = Found(row=row(), in_slot=FILE, in_handoff=FILE)
HALF_RETRIED = Found(row=RETRY, in_slot=FILE, in_failed=FILE)


@pytest.mark.parametrize(
    ("found", "twice"),
    [
        (HALF_CLAIMED, True),
        (HALF_RETRIED, True),
        (dataclasses.replace(HALF_RETRIED, in_failed=None, in_handoff=FILE), False),
        (dataclasses.replace(HALF_RETRIED, in_failed=OTHER), False),
        (dataclasses.replace(HALF_CLAIMED, in_handoff=OTHER), False),
        (dataclasses.replace(HALF_CLAIMED, mark=mark()), False),
        (dataclasses.replace(HALF_CLAIMED, row=row(attempts=1)), False),
    ],
)
def test_a_second_name_is_only_taken_for_half_a_claim_before_the_first_run(found: Found, twice: bool) -> None:
    """Later the same inode in the handoff directory is a new drop, and losing that is worse than running it."""
    (action,) = plan(Facts([found], [], links=True))

    assert isinstance(action, Resume)
    assert action.twice is twice


def test_where_moves_are_one_step_there_is_no_half_claim() -> None:
    """The same inode under the name again is a new drop, never to be removed."""
    (action,) = plan(Facts([HALF_CLAIMED], [], links=False))

    assert isinstance(action, Resume)
    assert not action.twice


class Site:
    """
    Directories and a store, put by hand into the state in which an agent left them.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = paths_below(root)
        state = root / "state"
        state.mkdir(parents=True, exist_ok=True)
        self.store = Store.open(state, now=NOW)
        self.places = Places(self.paths, agent="agent", owner="a test")

    def close(self) -> None:
        self.places.close()
        self.store.close()

    def put(self, where: Path, content: bytes = b"{}") -> Identity:
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(content)
        return Identity.from_stat(where.stat())

    def slot(self, number: int, name: str) -> Path:
        return self.paths.work / "agent" / str(number) / name

    def commit(self, changes: Changes) -> None:
        changes.totals[("claimed", "")] = 10
        self.store.writer.commit(changes)

    def end_badly(self, number: int, identity: Identity, *, target: str) -> Path:
        """
        Enter a file that ended as failed and is filed as `target`; return its error log.
        """
        claims = [claim(number, name=target, slot=99, identity=identity)]
        ends = [end(number, outcome=Outcome.FAILED, kind=Kind.TIMEOUT, target=target, size=identity.size)]
        self.commit(Changes(claims=claims, ends=ends, filed=[filed(number)]))
        log = self.paths.failed / f"{target}.error.log"
        log.write_text(f"File:      {target}\nId:        {self.store.store_id}-{number}\n")
        return log

    def facts(self, marks: dict[str, Mark] | None = None) -> Facts:
        with self.store.reader() as connection:
            rows = queries.open_files(connection)
        return survey(self.places, rows, marks or {}, self.store.store_id)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with closing(Site(tmp_path)) as one:
        yield one


def test_a_slot_given_to_a_new_file_of_the_same_name_is_not_the_old_ones(site: Site) -> None:
    """The old file is filed and not yet marked so, its slot holds the next file of that name: that one must run."""
    old = site.put(site.paths.processed / "x")
    new = site.put(site.slot(0, "x"))
    site.commit(
        Changes(
            claims=[claim(1, name="x", slot=0, identity=old), claim(2, name="x", slot=0, identity=new)],
            ends=[end(1, target="x", size=2)],
        )
    )

    first, second = plan(site.facts())
    assert isinstance(first, Close)
    assert isinstance(second, Resume)


def test_a_slot_whose_moves_power_loss_undid_still_holds_the_old_file(site: Site) -> None:
    """The new row is durable, the moves are not: the slot's file is the one that ended."""
    old = site.put(site.slot(0, "x"))
    new = site.put(site.paths.handoff / "x")
    site.commit(
        Changes(
            claims=[claim(1, name="x", slot=0, identity=old), claim(2, name="x", slot=0, identity=new)],
            ends=[end(1, target="x", size=2)],
        )
    )

    first, second = plan(site.facts())
    assert isinstance(first, File)
    assert isinstance(second, Claim)


def test_a_slot_given_on_after_a_vanished_file_is_not_that_ones(site: Site) -> None:
    """A vanished file leaves its slot to the next of its name as well."""
    new = site.put(site.slot(0, "x"))
    gone = new._replace(ino=new.ino + 1)
    site.commit(
        Changes(
            claims=[claim(1, name="x", slot=0, identity=gone), claim(2, name="x", slot=0, identity=new)],
            ends=[end(1, outcome=Outcome.VANISHED, kind=Kind.VANISHED, target=None, status_name=None)],
        )
    )

    first, second = plan(site.facts())
    assert isinstance(first, Close)
    assert isinstance(second, Resume)


def test_a_retry_not_moved_yet_is_found_in_failed(site: Site) -> None:
    """By the error log beside it, which names the file that it was; so an editor may have replaced it."""
    was = site.put(site.paths.failed / "x")
    site.end_badly(1, was, target="x")
    (site.root / "new").write_text("mended")
    (site.root / "new").replace(site.paths.failed / "x")
    site.commit(Changes(claims=[claim(2, name="y", identity=was, retry_of=1)]))

    [action] = plan(site.facts())
    assert isinstance(action, Claim)
    assert "file 2 (y) is still in failed/" in action.describe()


def test_a_retry_without_an_error_log_is_found_by_its_inode(site: Site) -> None:
    """The dead agent, or a person, had removed the log."""
    was = site.put(site.paths.failed / "x")
    log = site.end_badly(1, was, target="x")
    site.commit(Changes(claims=[claim(2, name="y", identity=was, retry_of=1)]))
    log.unlink()

    assert isinstance(plan(site.facts())[0], Claim)
    (site.paths.failed / "x").rename(site.root / "away")
    site.put(site.paths.failed / "x")
    assert isinstance(plan(site.facts())[0], Vanish)


def test_a_file_of_another_number_is_not_taken_for_a_retry(site: Site) -> None:
    """It came there after somebody had taken the first one away, and was given its inode."""
    was = site.put(site.paths.failed / "x")
    log = site.end_badly(1, was, target="x")
    log.write_text(log.read_text().replace("-1\n", "-5\n"))
    site.commit(Changes(claims=[claim(2, name="y", identity=was, retry_of=1)]))

    assert isinstance(plan(site.facts())[0], Vanish)


def test_a_retry_whose_old_row_is_no_longer_kept_vanishes(site: Site) -> None:
    """Nobody knows where it was."""
    was = site.put(site.paths.failed / "x")
    site.commit(Changes(claims=[claim(2, name="x", identity=was, retry_of=1)]))

    assert isinstance(plan(site.facts())[0], Vanish)


@pytest.mark.parametrize("state", ["retry entered", "retry claimed"])
def test_a_retry_cut_short_is_carried_on(tmp_path: Path, state: str) -> None:
    """The file runs under its own name, and the error log that it left is gone."""
    with closing(Site(tmp_path)) as site:
        Left(1, state, "x", Outcome.PROCESSED).make(site)
        log = site.paths.failed / "51-x.error.log"
        assert log.exists()
    with running(tmp_path) as bench:
        job = bench.take()
        assert (job.name, job.attempt, job.retry) == ("x", 1, True)
        assert bench.listing("failed") == []
        bench.report(job)
        bench.wait_filed(job)

        assert bench.listing("processed") == ["x"]
        assert bench.row(1).retry_of == 51


def test_a_retry_half_linked_into_its_slot_loses_the_other_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where moves are a link and an unlink, the second name in failed/ would be a file that nobody knows."""
    monkeypatch.setattr(moves, "_renameat2", lambda *args: errno.EINVAL)
    with closing(Site(tmp_path)) as site:
        Left(1, "retry claimed", "x", Outcome.PROCESSED).make(site)
        os.link(site.slot(1, "x"), site.paths.failed / "51-x")
        identity = Identity.from_stat(site.slot(1, "x").stat())
        assert plan(site.facts()) == [Resume(site.facts().rows[0].row, 0, twice=True)]
        assert site.facts().rows[0].in_failed == identity
    with running(tmp_path) as bench:
        job = bench.take()
        assert bench.listing("failed") == []
        bench.report(job)


def test_a_retry_whose_moves_power_loss_undid_is_filed_without_running(tmp_path: Path) -> None:
    """It ended as processed, so it does not stay in failed/."""
    with closing(Site(tmp_path)) as site:
        Left(1, "retry ended and moves undone", "x", Outcome.PROCESSED).make(site)
    with running(tmp_path) as bench:
        wait_until(lambda: bench.filed)

        assert bench.listing("processed") == ["1-x"]
        assert bench.listing("failed") == []


def test_run_that_the_agents_death_cut_off_is_kept_and_ends_the_wait(tmp_path: Path) -> None:
    """Once, also where the recovery itself was cut short; and the later ones beside it, of which it is the first."""
    with closing(Site(tmp_path)) as site:
        left = Left(1, "running", "x", Outcome.PROCESSED).make(site)
    (file_id,) = left
    first = {file_id: dataclasses.replace(left[file_id], started_at=NOW + 3 * SECOND)}
    second = {file_id: dataclasses.replace(left[file_id], started_at=NOW + 9 * SECOND, interruptions=1)}
    for marks in (first, first, second):
        with running(tmp_path, marks=marks) as bench, bench.store.reader() as connection:
            found = queries.interruptions(connection, 1)
    with running(tmp_path) as bench:
        job = bench.take()
        bench.report(job)
        bench.wait_filed(job)

        assert [(one.started_at, one.cause) for one in found] == [
            (NOW + 3 * SECOND, "death"),
            (NOW + 9 * SECOND, "death"),
        ]
        assert (bench.row(1).wait_us, bench.row(1).attempts) == (3 * SECOND, 1)
        assert job.interruptions == 2


STATES = (
    "entered",  # row committed, not moved
    "claimed",
    "running",
    "waiting",
    "interrupted twice and running",
    "ended",  # outcome committed, not filed
    "ended with status",
    "filed",
    "filed with status",
    "filed and taken",
    "ended and moves undone",
    "nowhere",
    "vanished",
    "stray",
    "retry entered",
    "retry claimed",  # and the error log that explained why it lay in failed/ not removed
    "retry ended and moves undone",
    "retry nowhere",
)
ENDS = (Outcome.PROCESSED, Outcome.FAILED)


@dataclasses.dataclass(frozen=True)
class Left:
    """
    A file that was in some state when its agent died.
    """

    number: int
    state: str
    name: str
    outcome: Outcome

    @property
    def target(self) -> str:
        return f"{self.number}-{self.name}"

    @property
    def status_name(self) -> str:
        return f"{self.name}-{self.number}.status"

    @property
    def old(self) -> int | None:
        """
        The number of the file that it was, if it is a retry.
        """
        return self.number + 50 if self.state.startswith("retry") else None

    @property
    def old_target(self) -> str:
        return f"{self.old}-{self.name}"

    def make(self, site: Site) -> dict[str, Mark]:
        """
        Put file, rows and status file where they were; return the marks.
        """
        slot = site.slot(self.number, self.name)
        slot.parent.mkdir(parents=True)
        place = self._place(site)
        identity = site.put(slot if place.exists() else place, str(self.number).encode())
        if self.old is not None:
            site.end_badly(self.old, identity, target=self.old_target)
        if self.state == "stray":
            return {}
        if self.state.endswith("status"):
            text = f'{{"id": "{site.store.store_id}-{self.number}"}}'
            (site.paths.status / self.status_name).write_text(text)
        site.commit(self._rows(identity))
        return self._marks(site) if self.state.endswith("running") else {}

    def _place(self, site: Site) -> Path:
        if self.state in {"retry entered", "retry ended and moves undone"}:
            return site.paths.failed / self.old_target
        if self.state in {"entered", "ended and moves undone"}:
            return site.paths.handoff / self.name
        if self.state in {"filed", "filed with status"}:
            done = self.outcome is Outcome.PROCESSED
            return (site.paths.processed if done else site.paths.failed) / self.target
        if self.state in {"filed and taken", "nowhere", "vanished", "retry nowhere"}:
            return site.root / "taken" / str(self.number)
        return site.slot(self.number, self.name)

    def _rows(self, identity: Identity) -> Changes:
        given = {"name": self.name, "slot": self.number, "identity": identity, "retry_of": self.old}
        changes = Changes(claims=[claim(self.number, **given)])
        if self.state == "waiting":
            changes.waits.append(wait(self.number))
        if self.state.startswith("interrupted"):
            changes.waits.append(wait(self.number, attempts=0, interruptions=2, next_attempt_at=None))
        if self.state.startswith(("ended", "filed", "vanished", "retry ended")):
            changes.ends.append(self._end(identity))
        return changes

    def _end(self, identity: Identity) -> EndRow:
        if self.state == "vanished":
            nothing = {"target": None, "status_name": None}
            return end(
                self.number, outcome=Outcome.VANISHED, kind=Kind.VANISHED, size=identity.size, **nothing
            )
        kind = None if self.outcome is Outcome.PROCESSED else Kind.COMMAND_FAILED
        names = {"target": self.target, "status_name": self.status_name}
        return end(self.number, outcome=self.outcome, kind=kind, size=identity.size, **names)

    def _marks(self, site: Site) -> dict[str, Mark]:
        file_id = f"{site.store.store_id}-{self.number}"
        before = 2 if self.state.startswith("interrupted") else 0
        return {file_id: Mark(id=file_id, attempt=1, interruptions=before, boot="boot")}


def picture(root: Path) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """
    Return rows and files, without the moments at which something was entered.
    """
    moments = ("filed_at", "finished_at", "claimed_at", "discovered_at")
    rows = [{key: value for key, value in one.items() if key not in moments} for one in rows_of(root)]
    files = {
        str(path.relative_to(root)): path.read_bytes()
        for path in (root / "handoff").rglob("*")
        if path.is_file() and path.suffix != ".status"
    }
    return rows, files


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STATES), st.sampled_from("xy"), st.sampled_from(ENDS)), max_size=5))
def test_recovering_twice_is_recovering_once(states: list[tuple[str, str, Outcome]]) -> None:
    """Whatever was left behind: a recovery that dies before its marks are cleared is repeated without harm."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        marks: dict[str, Mark] = {}
        with closing(Site(root)) as site:
            for number, (state, name, outcome) in enumerate(states, start=1):
                marks |= Left(number, state, name, outcome).make(site)
        with running(root, marks=marks):
            pass
        once = picture(root)
        with running(root, marks=marks) as bench:
            actions = bench.actions

        assert picture(root) == once
        assert {type(action) for action in actions} <= {Resume}
        assert {type(action) for action in planned(root)} <= {Resume}


def planned(root: Path) -> Sequence[object]:
    with closing(Site(root)) as site:
        return plan(site.facts())
