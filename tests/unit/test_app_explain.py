"""
What would happen to a file, found out without touching it.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import store_rows as rows
from conductor_loop.app.explain import Fate, Settling, explain
from conductor_loop.app.writers import writers_of
from conductor_loop.config import Agent, Config, Processor, Validation
from conductor_loop.errors import ConfigError, NotFoundError, PermissionDeniedError
from conductor_loop.model import Kind
from conductor_loop.store.database import Store
from surroundings import as_nobody
from untouched import picture

GOOD = json.dumps({"intent_type": "scaling", "target": "odu", "namespace": "ran", "replicas": 3})


@pytest.fixture
def config(tmp_path: Path) -> Config:
    handoff = tmp_path / "handoff"
    handoff.mkdir()
    agent = Agent(
        handoff_dir=handoff,
        state_dir=tmp_path / "state",
        processed_dir=handoff / "processed",
        failed_dir=handoff / "failed",
        status_dir=handoff / "status",
        work_dir=handoff / "work",
        settle=3600.0,
    )
    processor = Processor(command=("/bin/true", "{path}", "{id}"), out_dir=tmp_path / "out")
    return Config(agent=agent, processor=processor)


def drop(config: Config, name: str = "intent-a.json", content: str = GOOD) -> Path:
    path = config.agent.handoff_dir / name
    path.write_text(content)
    return path


def test_file_in_the_handoff_directory_would_be_run(config: Config, tmp_path: Path) -> None:
    """
    With the command line; nothing is made, changed or read in a way that shows.
    """
    path = drop(config)
    os.utime(path, ns=(1, path.stat().st_mtime_ns))  # accessed long ago
    before, accessed = picture(tmp_path), path.stat().st_atime_ns

    found = explain(config, path)

    assert (found.fate, found.dropped, found.entry) == (Fate.RUN, True, "regular file")
    assert found.call is not None
    assert found.call.argv == ["/bin/true", f"{config.agent.work_dir}/agent/0/intent-a.json", "<id>"]
    assert picture(tmp_path) == before
    assert path.stat().st_atime_ns == accessed


def test_file_elsewhere_is_explained_as_if_it_were_dropped(config: Config, tmp_path: Path) -> None:
    """
    Whether it is settled cannot be known before.
    """
    path = tmp_path / "intent-b.json"
    path.write_text(GOOD)

    found = explain(config, path)

    assert (found.fate, found.dropped, found.settling) == (Fate.RUN, False, None)


def test_next_id_and_free_slot_are_those_that_can_be_expected(config: Config) -> None:
    """
    The id from the database, read without a trace; the slot that no file is in.
    """
    state = config.agent.state_dir
    state.mkdir()
    with closing(Store.open(state, now=rows.NOW)) as store:
        store.writer.commit(rows.whole_life(1, 2))
    for slot in ("0", "1"):
        (config.agent.work_dir / "agent" / slot).mkdir(parents=True)
    (config.agent.work_dir / "agent" / "0" / "intent-z.json").touch()
    before = picture(state)

    found = explain(config, drop(config))

    assert found.call is not None
    assert found.call.argv[1:] == [
        f"{config.agent.work_dir}/agent/1/intent-a.json",
        f"{store.store_id}-3",
    ]
    assert found.call.variables["CONDUCTOR_FILE_ID"] == f"{store.store_id}-3"
    assert picture(state) == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".intent-a.json", "names such as .* are never taken"),
        ("intent-a.json.tmp", "names such as *.tmp are never taken"),
        ("intent-a.json~", "names such as *~ are never taken"),
        ("other.json", 'does not match agent.pattern = "intent-*.json"'),
    ],
)
def test_name_that_is_not_taken(config: Config, name: str, reason: str) -> None:
    """
    With the pattern that says so; the content is not even read.
    """
    found = explain(config, drop(config, name))

    assert found.fate is Fate.IGNORED
    assert found.ignored == [f"{name}: {reason}"]
    assert found.judgement is None


def test_own_folders_are_not_taken(config: Config) -> None:
    """
    However wide the pattern is.
    """
    config = replace(config, agent=replace(config.agent, pattern="*"))
    config.agent.failed_dir.mkdir()

    found = explain(config, config.agent.failed_dir)

    assert found.ignored == [
        "failed: is the name of a folder of the agent's own",
        "a directory is never taken, only a regular file is",
    ]


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    ("make", "entry"),
    [
        (os.mkfifo, "FIFO"),
        (os.mkdir, "directory"),
        (lambda path: os.symlink("/etc/passwd", path), "symbolic link"),
        (lambda path: os.symlink("nowhere", path), "symbolic link"),
        (bind, "socket"),
    ],
)
def test_what_is_no_regular_file_is_ignored(config: Config, make: Callable[[Path], None], entry: str) -> None:
    """
    It is neither opened nor followed, so that nothing waits.
    """
    path = config.agent.handoff_dir / "intent-a.json"
    make(path)

    found = explain(config, path)

    assert (found.fate, found.entry) == (Fate.IGNORED, entry)
    assert found.ignored == [f"a {entry} is never taken, only a regular file is"]


def test_every_problem_is_named(config: Config) -> None:
    """
    And the outcome has the kind of the first.
    """
    found = explain(config, drop(config, content='{"replicas": "many", "colour": 1}'))

    assert found.fate is Fate.REJECTED
    assert found.judgement is not None
    assert found.judgement.rejection is not None
    assert found.judgement.rejection.kind is Kind.MISSING_FIELD
    assert len(found.judgement.problems) == 5
    assert (found.call, found.final_in) == (None, 0.0)


def test_unfinished_file_is_rejected_only_when_it_stays_so(config: Config, tmp_path: Path) -> None:
    """
    In the handoff directory its time runs; elsewhere it begins with the drop.
    """
    config = replace(config, agent=replace(config.agent, reject_after=3600.0))
    elsewhere = tmp_path / "intent-b.json"
    elsewhere.write_text("{")

    here, there = explain(config, drop(config, content="{")), explain(config, elsewhere)

    assert 3590 < here.final_in < 3600
    assert there.final_in == 3600


def test_file_larger_than_accepted_is_not_read_to_its_end(config: Config) -> None:
    """
    Here it would take a terabyte of memory.
    """
    path = drop(config)
    os.truncate(path, 1 << 40)

    found = explain(config, path)

    assert found.judgement is not None
    assert found.judgement.rejection is not None
    assert found.judgement.rejection.kind is Kind.TOO_LARGE


def settling_of(config: Config, path: Path) -> Settling:
    settling = explain(config, path).settling
    assert settling is not None
    return settling


def test_file_that_was_just_written_is_not_settled(config: Config) -> None:
    """
    The wait is what is left of `settle`.
    """
    settling = settling_of(config, drop(config))

    assert 3590 < settling.seconds <= 3600
    assert (settling.writers, settling.written) == ([], False)


def test_writer_is_named(config: Config) -> None:
    """
    Who has it open for reading only does not count.
    """
    path = drop(config)
    name = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    with path.open("rb"):
        assert writers_of(path.stat()) == []
        with path.open("ab"):
            settling = settling_of(config, path)

    assert settling.writers == [f"pid {os.getpid()} ({name})"]
    assert settling.written is True


def test_command_that_is_not_there_blocks(config: Config) -> None:
    """
    The file is acceptable and waits.
    """
    config = replace(config, processor=replace(config.processor, command=("/no/such/program", "{path}")))

    found = explain(config, drop(config))

    assert found.fate is Fate.BLOCKED


def test_handler_is_not_imported(config: Config) -> None:
    """
    That would run its module.
    """
    config = replace(
        config, processor=replace(config.processor, kind="python", handler="no_such_module:handle")
    )

    found = explain(config, drop(config))

    assert (found.fate, found.call) == (Fate.RUN, None)


def test_schema_that_cannot_be_used_is_an_error(config: Config, tmp_path: Path) -> None:
    """
    No agent would start with it.
    """
    config = replace(config, validation=Validation(schema=str(tmp_path / "missing.json")))

    with pytest.raises(ConfigError, match=r"missing\.json: cannot be read"):
        explain(config, drop(config))


@pytest.mark.parametrize("name", ["missing.json", "intent-a.json/below", "x" * 300])
def test_nothing_of_that_name(config: Config, name: str) -> None:
    """
    Exit code 1, in one line.
    """
    drop(config)

    with pytest.raises(NotFoundError, match="name a file that is there"):
        explain(config, config.agent.handoff_dir / name)


@pytest.mark.root
def test_file_of_another_user_that_may_not_be_read(config: Config, tmp_path: Path) -> None:
    """
    Exit code 77, and who may.
    """
    path = drop(config)
    path.chmod(0o600)

    with as_nobody(path.parent), pytest.raises(PermissionDeniedError, match="this user may not read it"):
        explain(config, path)


def test_file_is_not_taken_while_intake_is_paused(config: Config) -> None:
    """
    It would be acceptable and has to wait; what is rejected or ignored is so all the same.
    """
    stands = {"operator": {"since": "2026-11-23T07:43:18Z", "message": "moving"}}
    fates = [
        explain(config, drop(config, name, content), paused=lambda: stands).fate
        for name, content in (("intent-a.json", GOOD), ("intent-b.json", "{}"), ("c", GOOD))
    ]

    assert fates == [Fate.BLOCKED, Fate.REJECTED, Fate.IGNORED]
    assert explain(config, drop(config), paused=lambda: stands).paused == stands


@pytest.mark.root
def test_directory_of_slots_that_may_not_be_read_is_no_obstacle(config: Config, tmp_path: Path) -> None:
    """
    Which slot it will be is a guess in any case.
    """
    path = tmp_path / "intent-a.json"
    path.write_text(GOOD)
    slots = config.agent.work_dir / config.agent.name
    slots.mkdir(parents=True)
    slots.chmod(0o700)
    path.chmod(0o644)

    with as_nobody(slots.parent):
        found = explain(config, path)

    assert found.fate is Fate.RUN
    assert found.call is not None
    assert found.call.argv[1].endswith("/0/intent-a.json")
