"""
The administration of directories that no agent uses.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from conductor_loop import app
from conductor_loop.app.administration import OfflineAdministration
from conductor_loop.config import Agent, Config, Http, Processor
from conductor_loop.errors import (
    CommandAtWorkError,
    ConflictError,
    NotFoundError,
    OwnedError,
    StoreError,
    UnreachableError,
)
from conductor_loop.ledger.locks import DirectoryLock, lock_for_command
from conductor_loop.model import PauseReason
from untouched import picture


def config(root: Path, *command: str) -> Config:
    handoff = root / "handoff"
    return Config(
        agent=Agent(
            handoff_dir=handoff,
            state_dir=root / "state",
            processed_dir=handoff / "processed",
            failed_dir=handoff / "failed",
            status_dir=handoff / "status",
            work_dir=handoff / "work",
            settle=0.01,
            reject_after=0.01,
            min_free=0,
        ),
        processor=Processor(command=command or ("/bin/false", "{path}"), out_dir=root / "out"),
        http=Http(metrics_port=0),
    )


@pytest.fixture
def left(tmp_path: Path) -> Config:
    """
    What an agent has left that ended with one failed file, number 1.
    """
    found = config(tmp_path)
    found.agent.handoff_dir.mkdir()
    (found.agent.handoff_dir / "intent-a.json").write_bytes(INTENT)
    assert app.run(found, once=True) == 1
    return found


INTENT = b'{"intent_type": "scaling", "target": "cell", "namespace": "ran", "replicas": 3}'


@contextmanager
def offline(found: Config) -> Iterator[OfflineAdministration]:
    administration = OfflineAdministration(found)
    try:
        yield administration
    finally:
        administration.give_back()


def pauses(found: Config) -> list[str]:
    with closing(sqlite3.connect(found.agent.state_dir / "history.db")) as database:
        return [reason for (reason,) in database.execute("SELECT reason FROM pauses ORDER BY reason")]


def test_a_dry_run_of_a_retry_changes_nothing(left: Config, tmp_path: Path) -> None:
    """
    It takes no lock and makes no file, and says what would be done.
    """
    before = picture(tmp_path)

    with offline(left) as administration, closing(DirectoryLock(left.agent.state_dir, "somebody")):
        locked = picture(tmp_path)
        would_be = administration.retry(1, dry_run=True)
        assert picture(tmp_path) == locked

    assert (would_be.id, would_be.retry_of, would_be.path) == (
        None,
        1,
        left.agent.failed_dir / "intent-a.json",
    )
    assert set(picture(tmp_path)) == set(before)


def test_a_retried_file_waits_for_the_next_start(left: Config) -> None:
    """
    It is claimed now, by the agent's own ledger, and run by the next agent.
    """
    with offline(left) as administration:
        retried = administration.retry(1, dry_run=False)

    assert not (left.agent.failed_dir / "intent-a.json").exists()
    assert [path.name for path in left.agent.work_dir.rglob("*.json")] == ["intent-a.json"]

    good = config(left.agent.handoff_dir.parent, "/bin/true", "{path}")
    assert app.run(good, once=True) == 0
    assert (good.agent.processed_dir / "intent-a.json").exists()
    assert retried.id is not None
    assert retried.id.endswith("-2")


def test_more_files_than_the_look_ahead_can_be_retried(tmp_path: Path) -> None:
    """
    Nobody works on them until the next start, so there is nobody to wait for.
    """
    found = config(tmp_path)
    found.agent.handoff_dir.mkdir()
    count = found.agent.look_ahead + 6
    for number in range(count):
        (found.agent.handoff_dir / f"intent-{number}.json").write_bytes(INTENT)
    assert app.run(found, once=True) == 1

    with offline(found) as administration:
        for number in range(1, count + 1):
            administration.retry(number, dry_run=False)

    assert list(found.agent.failed_dir.iterdir()) == []


def test_pauses_are_kept_and_ended(left: Config) -> None:
    """
    The next agent finds them.
    """
    with offline(left) as administration:
        administration.pause("lunch")
        assert administration.drain().drained
    assert pauses(left) == ["drain", "operator"]

    with offline(left) as administration:
        for dry_run in (True, False):
            with pytest.raises(ConflictError, match=r"intake is paused .*lunch"):
                administration.retry(1, dry_run=dry_run)
        assert administration.resume() == [PauseReason.OPERATOR, PauseReason.DRAIN]
    assert pauses(left) == []


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_unknown_file_is_said_to_be_unknown(left: Config, *, dry_run: bool) -> None:
    """
    With or without doing it.
    """
    with (
        offline(left) as administration,
        pytest.raises(NotFoundError, match=r"there is no file .*-7: there never was"),
    ):
        administration.retry(7, dry_run=dry_run)


def test_what_only_an_agent_can_do_is_refused(left: Config) -> None:
    """
    There is nobody to stop or to take another configuration over.
    """
    with offline(left) as administration:
        with pytest.raises(UnreachableError, match="no agent runs"):
            administration.stop()
        with pytest.raises(UnreachableError, match="no agent runs"):
            administration.reload(dry_run=False)


def test_a_change_is_refused_while_somebody_else_has_the_directory(left: Config) -> None:
    """
    An agent, or another administrator without one.
    """
    with (
        offline(left) as administration,
        closing(DirectoryLock(left.agent.state_dir, "the agent 'x'")),
        pytest.raises(OwnedError, match="the agent 'x'"),
    ):
        administration.pause("lunch")
    assert pauses(left) == []


def test_directories_are_given_back_between_two_changes(left: Config) -> None:
    """
    So that an agent can start in a rest; the next change takes them again.
    """
    with offline(left) as administration:
        administration.pause("lunch")
        with pytest.raises(CommandAtWorkError):
            DirectoryLock(left.agent.state_dir, "somebody")
        administration.give_back()
        DirectoryLock(left.agent.state_dir, "somebody").close()
        administration.give_back()
        assert administration.pauses().keys() == {PauseReason.OPERATOR}
        assert administration.resume() == [PauseReason.OPERATOR]
    assert pauses(left) == []


def test_a_change_that_cannot_be_made_leaves_nothing_locked(left: Config) -> None:
    """
    The lock is the first thing that is taken, and the database can be unusable after it.
    """
    database = left.agent.state_dir / "history.db"
    with offline(left) as administration:
        content = database.read_bytes()
        with closing(sqlite3.connect(database)) as other:
            other.execute("CREATE TABLE notes (line TEXT)")
            other.execute("DROP TABLE meta")
            other.commit()
        with pytest.raises(StoreError, match="not one of conductor-loop"):
            administration.pause("lunch")
        DirectoryLock(left.agent.state_dir, "somebody").close()
        database.write_bytes(content)
        administration.pause("lunch")
    assert pauses(left) == ["operator"]


@pytest.mark.parametrize("folder", ["state_dir", "work_dir"])
def test_a_change_waits_for_another_command(left: Config, folder: str) -> None:
    """
    It ends by itself, so nobody need be told.
    """
    lock = lock_for_command(getattr(left.agent, folder))
    timer = threading.Timer(0.2, lock.close)
    with offline(left) as administration:
        timer.start()
        administration.pause("lunch")
        timer.join()
    assert pauses(left) == ["operator"]


def test_where_no_agent_ever_was_there_is_nothing_to_administer(tmp_path: Path) -> None:
    """
    And nothing is made there.
    """
    with pytest.raises(StoreError, match="no such database"), offline(config(tmp_path)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_pauses_are_read_without_taking_anything(left: Config, tmp_path: Path) -> None:
    """
    As they were set, with their beginning, also beside somebody who holds the directory.
    """
    with offline(left) as administration:
        administration.pause("lunch")
        administration.drain()
    before = picture(tmp_path)

    with offline(left) as administration:
        first = administration.pauses()
        assert picture(tmp_path) == before

    with offline(left) as administration:
        assert administration.pause("dinner") == first[PauseReason.OPERATOR]
        assert administration.pauses() == {
            PauseReason.OPERATOR: replace(first[PauseReason.OPERATOR], message="dinner"),
            PauseReason.DRAIN: first[PauseReason.DRAIN],
        }
