"""
What recovery decides, row by row of the table, and that doing it twice changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from store_rows import NOW, claim, end, wait

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


def mark(interruptions: int = 0) -> Mark:
    return Mark(id="store-1", attempt=1, interruptions=interruptions, boot="boot")


ONCE_INTERRUPTED = row(interruptions=1)
TWICE_INTERRUPTED = row(interruptions=2)
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
        (Found(row=row(), in_handoff=FILE), Claim(row())),
        (Found(row=row(), in_handoff=RENAMED), Claim(row())),
        (Found(row=row(), in_handoff=OTHER), Vanish(row())),
        (Found(row=row(), in_handoff=CHANGED), Vanish(row())),
        (Found(row=row()), Vanish(row())),
        (Found(row=row(), mark=mark()), Vanish(row())),
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
        (Found(row=ended(), in_handoff=FILE), File(ended(), from_handoff=True)),
        (Found(row=ended(), in_handoff=OTHER), Close(ended(), rewrite_status=False)),
        (Found(row=ended()), Close(ended(), rewrite_status=False)),
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
        Vanish(row()),
        File(ended()),
        Close(ended(), rewrite_status=True),
    ]

    assert all("file 1 (intent-1.json)" in action.describe() for action in actions)
    assert len({action.describe() for action in actions}) == len(actions)
    assert "agent/3/intent-9.json" in Adopt(stray).describe()


HALF_CLAIMED = Found(row=row(), in_slot=FILE, in_handoff=FILE)


@pytest.mark.parametrize(
    ("found", "twice"),
    [
        (HALF_CLAIMED, True),
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

    def make(self, site: Site) -> dict[str, Mark]:
        """
        Put file, rows and status file where they were; return the marks.
        """
        slot = site.slot(self.number, self.name)
        slot.parent.mkdir(parents=True)
        place = self._place(site)
        identity = site.put(slot if place.exists() else place, str(self.number).encode())
        if self.state == "stray":
            return {}
        if self.state.endswith("status"):
            text = f'{{"id": "{site.store.store_id}-{self.number}"}}'
            (site.paths.status / self.status_name).write_text(text)
        site.commit(self._rows(identity))
        return self._marks(site) if self.state.endswith("running") else {}

    def _place(self, site: Site) -> Path:
        if self.state in {"entered", "ended and moves undone"}:
            return site.paths.handoff / self.name
        if self.state in {"filed", "filed with status"}:
            done = self.outcome is Outcome.PROCESSED
            return (site.paths.processed if done else site.paths.failed) / self.target
        if self.state in {"filed and taken", "nowhere", "vanished"}:
            return site.root / "taken" / str(self.number)
        return site.slot(self.number, self.name)

    def _rows(self, identity: Identity) -> Changes:
        changes = Changes(claims=[claim(self.number, name=self.name, slot=self.number, identity=identity)])
        if self.state == "waiting":
            changes.waits.append(wait(self.number))
        if self.state.startswith("interrupted"):
            changes.waits.append(wait(self.number, attempts=0, interruptions=2, next_attempt_at=None))
        if self.state.startswith(("ended", "filed", "vanished")):
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


@settings(max_examples=15, deadline=None)
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
