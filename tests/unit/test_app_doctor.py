"""
What is wrong around an agent.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import store_rows as rows
from conductor_loop import __version__, clock
from conductor_loop.app import doctor
from conductor_loop.app.doctor import Answers, Check, Examination, Result, examine, examine_without
from conductor_loop.app.doctor.directories import check_moves
from conductor_loop.app.doctor.environment import check_clock
from conductor_loop.app.doctor.user import User
from conductor_loop.config import Admin, Agent, Config, Http, Processor, Validation, config_hash
from conductor_loop.errors import ConfigError
from conductor_loop.ledger.locks import DirectoryLock, lock_for_command
from conductor_loop.ledger.recovery import Adopt, Claim, Vanish
from conductor_loop.model import Identity, Sample
from conductor_loop.store.changes import Changes
from conductor_loop.store.database import Store
from ports import free_port
from surroundings import NOBODY, as_nobody, need_root, small_disk
from untouched import picture
from waiting import wait_until


@pytest.fixture
def config(tmp_path: Path) -> Config:
    handoff = tmp_path / "handoff"
    agent = Agent(
        handoff_dir=handoff,
        state_dir=tmp_path / "state",
        processed_dir=handoff / "processed",
        failed_dir=handoff / "failed",
        status_dir=handoff / "status",
        work_dir=handoff / "work",
        min_free=1,
    )
    for folder in (handoff, agent.state_dir, agent.work_dir, tmp_path / "out"):
        folder.mkdir()
    processor = Processor(command=("/bin/true", "{path}"), out_dir=tmp_path / "out")
    return Config(agent=agent, processor=processor, http=Http(metrics_port=free_port()))


def look(config: Config, answers: Answers | None = None, *warnings: str) -> Examination:
    return examine(config, source="agent.toml", warnings=warnings, ask=lambda: answers)


def said(found: Examination, name: str) -> Check:
    """
    Return the worst that was said of something.
    """
    order = [Result.FAILED, Result.SKIPPED, Result.WARNING, Result.OK]
    return min(
        (check for check in found.checks if check.name == name), key=lambda check: order.index(check.result)
    )


def changed(config: Config, section: str, **values: Any) -> Config:
    return replace(config, **{section: replace(getattr(config, section), **values)})


def answers(config: Config, **health: Any) -> Answers:
    """
    Return what a healthy agent says, but for what is given.
    """
    document = {
        "status": "healthy",
        "version": __version__,
        "config_hash": config_hash(config),
        "components": {"worker_pool": "healthy", "metrics": "healthy"},
        "details": {"components": {}, "paused": {}},
        "warnings": [],
    }
    return Answers("unix:/run/admin.sock", by_socket=True, health=document | health)


def make_store(config: Config) -> Store:
    with closing(Store.open(config.agent.state_dir, now=rows.NOW)) as store:
        store.writer.commit(rows.whole_life(1))
    return store


def test_sound_surroundings_pass_and_are_not_touched(config: Config, tmp_path: Path) -> None:
    """
    Every check is made, and none leaves a trace.
    """
    make_store(config)
    before = picture(tmp_path)

    found = look(config)

    assert found.passed, [check for check in found.checks if check.result is Result.FAILED]
    assert {check.name for check in found.checks} == {
        "python",
        "sqlite",
        "configuration",
        "agent",
        "handoff_dir",
        "work_dir",
        "processed_dir",
        "failed_dir",
        "status_dir",
        "state_dir",
        "out_dir",
        "moves",
        "space",
        "schema",
        "command",
        "database",
        "integrity",
        "leftovers",
        "port",
        "admin_socket",
        "inotify",
        "descriptors",
        "clock",
    }
    assert all(check.hint for check in found.checks if check.result in (Result.FAILED, Result.SKIPPED))
    assert found.recovery == []
    assert picture(tmp_path) == before


def test_nothing_is_there_yet(config: Config, tmp_path: Path) -> None:
    """
    The agent makes what it needs; the doctor does not.
    """
    new = Path(tmp_path / "new")
    config = changed(
        config,
        "agent",
        **{
            f"{name}_dir": new / name
            for name in ("handoff", "state", "work", "processed", "failed", "status")
        },
    )

    found = look(config)

    assert found.passed
    assert "the agent makes it when it starts" in said(found, "handoff_dir").message
    assert not new.exists()


def test_warnings_of_the_configuration_are_repeated(config: Config) -> None:
    """
    They are no failure.
    """
    found = look(config, None, "agent.toml: [agent] colour: unknown key")

    assert found.passed
    assert said(found, "configuration").message == "agent.toml: [agent] colour: unknown key"


def test_bad_configuration_is_a_failed_check() -> None:
    """
    One for each problem; nothing else can be looked at.
    """
    found = examine_without(ConfigError("first", "second"))

    assert [check.message for check in found.checks if check.result is Result.FAILED] == ["first", "second"]
    assert not found.passed


@pytest.mark.parametrize(
    ("section", "values", "name", "message"),
    [
        (
            "processor",
            {"command": ("/no/such/program", "{path}")},
            "command",
            "/no/such/program: no such program",
        ),
        ("processor", {"command": ("no-such-program",)}, "command", "not in the PATH of this shell"),
        ("processor", {"kind": "python", "handler": "json:missing"}, "handler", "has no missing"),
        ("agent", {"min_free": 1 << 60}, "space", "are needed"),
        ("admin", {"socket": "/run/" + "x" * 120}, "admin_socket", "too long for a unix socket"),
    ],
)
def test_bad_setting_is_found(
    config: Config, section: str, values: dict[str, Any], name: str, message: str
) -> None:
    """
    With a hint.
    """
    found = look(changed(config, section, **values))

    check = said(found, name)
    assert (check.result, found.passed) == (Result.FAILED, False)
    assert message in check.message
    assert check.hint


def test_schema_that_cannot_be_used(config: Config, tmp_path: Path) -> None:
    """
    As check-config says it.
    """
    found = look(replace(config, validation=Validation(schema=str(tmp_path / "missing.json"))))

    assert said(found, "schema").result is Result.FAILED


def test_script_without_its_interpreter(config: Config, tmp_path: Path) -> None:
    """
    It is there and executable, and cannot be started all the same.
    """
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter -x\n")
    script.chmod(0o755)

    check = said(look(changed(config, "processor", command=(str(script), "{path}"))), "command")

    assert check.result is Result.FAILED
    assert "/no/such/interpreter, which cannot be executed" in check.message


def test_program_that_is_not_executable(config: Config, tmp_path: Path) -> None:
    """
    With the chmod that helps.
    """
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")

    check = said(look(changed(config, "processor", command=(str(script), "{path}"))), "command")

    assert check.result is Result.FAILED
    assert check.hint == f"chmod a+rx {script}"


def test_importing_a_handler_leaves_no_compiled_file(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    And the switch is as it was.
    """
    (tmp_path / "jobs_for_doctor.py").write_text("def handle(file): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)

    found = look(changed(config, "processor", kind="python", handler="jobs_for_doctor:handle"))

    assert said(found, "handler").result is Result.OK
    assert not (tmp_path / "__pycache__").exists()
    assert sys.dont_write_bytecode is False


def test_something_else_has_the_name_of_a_directory(config: Config) -> None:
    """
    The agent would not start.
    """
    config.agent.failed_dir.touch()

    check = said(look(config), "failed_dir")

    assert check.result is Result.FAILED
    assert "is no directory" in check.message


def test_symbolic_link_in_a_path_is_a_warning(config: Config, tmp_path: Path) -> None:
    """
    It works, and whoever may change the link sends the files elsewhere.
    """
    (tmp_path / "link").symlink_to(tmp_path / "out")

    check = said(look(changed(config, "processor", out_dir=tmp_path / "link")), "out_dir")

    assert check.result is Result.WARNING
    assert check.message.endswith(f"it leads to {tmp_path}/out")


@pytest.mark.parametrize(("mode", "result"), [(0o2770, None), (0o770, Result.WARNING), (0o750, None)])
def test_group_that_may_drop_files_needs_setgid(config: Config, mode: int, result: Result | None) -> None:
    """
    Else its files come with groups of their own.
    """
    config.agent.handoff_dir.chmod(mode)

    found = [check.result for check in look(config).checks if check.name == "producers"]

    assert found == ([result] if result else [])


def test_directories_on_two_file_systems(config: Config, tmp_path: Path) -> None:
    """
    Found without moving anything.
    """
    with os.scandir("/dev/shm") as entries:
        before = {entry.name for entry in entries}
    config = changed(config, "agent", failed_dir=Path("/dev/shm/conductor-loop-doctor/failed"))

    check = said(look(config), "moves")

    assert check.result is Result.FAILED
    assert "they are on different file systems" in check.message
    assert set(os.listdir("/dev/shm")) == before


@pytest.mark.root
def test_directories_on_two_mounts_of_one_file_system(config: Config, tmp_path: Path) -> None:
    """
    Device numbers are the same; only the kernel's answer to a move tells.
    """
    need_root()
    target, source = config.agent.failed_dir, tmp_path / "elsewhere"
    target.mkdir()
    source.mkdir()
    subprocess.run(["mount", "--bind", source, target], check=True)
    try:
        (check,) = check_moves(config)
    finally:
        subprocess.run(["umount", target], check=True)

    assert check.result is Result.FAILED
    assert "they are on different mounts" in check.message
    assert (os.listdir(source), os.listdir(config.agent.work_dir)) == ([], [])


@pytest.mark.root
def test_read_only_file_system(config: Config, tmp_path: Path) -> None:
    """
    Root may write there by the modes, and cannot.
    """
    need_root()
    with small_disk(tmp_path / "disk", "1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        found = look(changed(config, "processor", out_dir=disk))

    assert said(found, "out_dir").result is Result.FAILED


@pytest.mark.root
def test_what_this_user_may_not_look_at_is_skipped(config: Config, tmp_path: Path) -> None:
    """
    Never a traceback; the hint names who may.
    """
    make_store(config)
    with as_nobody(tmp_path):
        found = look(config)

    skipped = {check.name for check in found.checks if check.result is Result.SKIPPED}
    assert {"database", "integrity", "leftovers"} <= skipped
    assert said(found, "database").hint == "run as the agent's user, root"
    assert found.recovery is None


@pytest.mark.root
def test_directories_are_judged_for_the_agents_user(config: Config) -> None:
    """
    Root looks, and the agent runs as the owner of the state directory.
    """
    need_root()
    os.chown(config.agent.state_dir, NOBODY, NOBODY)
    config.agent.handoff_dir.chmod(0o1777)
    config.processor.out_dir.chmod(0o755)

    found = look(config)

    assert found.user == User.of(NOBODY).name
    assert said(found, "out_dir").result is Result.FAILED
    assert f"chown {found.user}" in said(found, "out_dir").hint
    assert "is sticky" in said(found, "producers").message


@contextmanager
def listening(config: Config) -> Iterator[None]:
    with socket.create_server((config.http.metrics_host, config.http.metrics_port)):
        yield


def test_port_of_another_program(config: Config) -> None:
    """
    Nobody is connected to; files would go on.
    """
    with listening(config):
        found = look(config)

    assert said(found, "port").result is Result.FAILED
    assert said(look(config), "port").result is Result.OK


def test_port_of_all_addresses_is_taken_by_a_listener_on_one(config: Config) -> None:
    """
    And the other way round.
    """
    everywhere = changed(config, "http", metrics_host="0.0.0.0")

    with listening(config):
        assert said(look(everywhere), "port").result is Result.FAILED
    with listening(everywhere):
        assert said(look(config), "port").result is Result.FAILED
    with listening(changed(config, "http", metrics_host="127.0.0.2")):
        assert said(look(config), "port").result is Result.OK


def test_agent_that_answers_at_our_port_and_is_not_ours(config: Config) -> None:
    """
    Its health is none of our business, its port is.
    """
    others = replace(answers(config, config_hash="another"), by_socket=False)

    with listening(config):
        found = look(config, others)

    assert not found.running
    assert said(found, "port").result is Result.FAILED
    assert "worker_pool" not in {check.name for check in found.checks}


def test_something_else_has_the_name_of_the_socket(config: Config, tmp_path: Path) -> None:
    """
    The agent leaves it alone, and has no socket then.
    """
    (tmp_path / "file").touch()

    check = said(look(replace(config, admin=Admin(socket=str(tmp_path / "file")))), "admin_socket")

    assert check.result is Result.FAILED
    assert "is no socket" in check.message


def test_running_agent_is_asked_and_not_looked_at(config: Config) -> None:
    """
    Its files move meanwhile; what it says of itself is repeated.
    """
    make_store(config)
    health = {
        "components": {
            "worker_pool": "degraded",
            "store": "unhealthy",
            "metrics": "healthy",
            "disk": "healthy",
        },
        "details": {
            "components": {"worker_pool": "no such program", "store": "is damaged"},
            "paused": {
                "command": {"since": "2026-11-23T18:58:15Z", "message": "no such program"},
                "operator": {"since": "2026-11-23T18:58:15Z", "message": "maintenance"},
            },
        },
        "warnings": ["something is odd"],
    }
    with closing(DirectoryLock(config.agent.state_dir, "the agent 'agent', process 7")):
        found = look(config, answers(config, **health))

    assert (found.running, found.recovery) == (True, None)
    assert "leftovers" not in {check.name for check in found.checks}
    assert said(found, "worker_pool").result is Result.WARNING
    assert said(found, "store").result is Result.FAILED
    assert said(found, "store").message == "unhealthy: is damaged"
    assert said(found, "disk").result is Result.OK
    pauses = [check for check in found.checks if check.name == "intake"]
    assert [check.hint.startswith("`conductor-loop resume`") for check in pauses] == [False, True]
    assert "something is odd" in [check.message for check in found.checks]


def test_running_agent_of_another_version_or_configuration(config: Config) -> None:
    """
    Somebody forgot to restart or to reload it.
    """
    found = look(config, answers(config, version="0.0.1", config_hash="another"))

    assert said(found, "version").result is Result.WARNING
    assert said(found, "configuration").result is Result.WARNING


def test_agent_that_runs_and_does_not_answer(config: Config) -> None:
    """
    Who it is is in its lock.
    """
    with closing(DirectoryLock(config.agent.state_dir, "the agent 'agent', process 7")):
        check = said(look(config), "agent")

    assert check.result is Result.FAILED
    assert check.message.startswith("the agent 'agent', process 7 runs and answers neither")


@pytest.mark.parametrize("ends", [True, False])
def test_command_at_work(config: Config, monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    """
    It is waited for; one that goes on is named, and no word is said of files that it may be moving.
    """
    monkeypatch.setattr(doctor, "PATIENCE_SECONDS", 20 if ends else 0.1)
    lock = lock_for_command(config.agent.state_dir)
    timer = threading.Timer(0.2 if ends else 0.0, lock.close if ends else lambda: None)
    timer.start()

    found = look(config)

    timer.join()
    lock.close()
    assert not found.running
    words = f"another conductor-loop command (pid {os.getpid()}) is at work in {config.agent.state_dir}; try again"
    wanted = Check("agent", Result.OK, "no agent runs") if ends else Check("agent", Result.FAILED, words)
    assert said(found, "agent") == wanted
    assert said(found, "leftovers").result is (Result.OK if ends else Result.SKIPPED)


def test_empty_database_file(config: Config) -> None:
    """
    The next start makes a database of it.
    """
    (config.agent.state_dir / "history.db").touch()

    found = look(config)

    assert said(found, "database").result is Result.OK
    assert "is not there yet" in said(found, "database").message
    assert found.recovery == []


def test_handoff_directory_of_another_agent(config: Config) -> None:
    """
    This one would be refused.
    """
    with closing(DirectoryLock(config.agent.work_dir, "the agent 'other', process 7")):
        check = said(look(config), "agent")

    assert check.result is Result.FAILED
    assert "is in use by the agent 'other', process 7" in check.message


def test_what_recovery_would_do_is_told_and_not_done(config: Config, tmp_path: Path) -> None:
    """
    A file that was not moved yet, one that is nowhere, and one without a row.
    """
    waiting = config.agent.handoff_dir / "intent-2.json"
    waiting.write_text("{}")
    stray = config.agent.work_dir / "agent" / "5" / "intent-9.json"
    stray.parent.mkdir(parents=True)
    stray.write_text("{}")
    with closing(Store.open(config.agent.state_dir, now=rows.NOW)) as store:
        changes = rows.whole_life(1)
        changes.claims.append(rows.claim(2, identity=Identity.from_stat(waiting.stat())))
        changes.claims.append(rows.claim(3))
        store.writer.commit(changes)
    before = picture(tmp_path)

    found = look(config)

    assert found.recovery is not None
    assert [type(action) for action in found.recovery] == [Claim, Vanish, Adopt]
    assert said(found, "leftovers").result is Result.WARNING
    assert "agent/5/intent-9.json" in said(found, "leftovers").message
    assert picture(tmp_path) == before


def test_files_that_nobody_would_ever_take(config: Config) -> None:
    """
    They are not in a slot, so recovery leaves them alone.
    """
    (config.agent.work_dir / "intent-a.json").touch()

    check = said(look(config), "leftovers")

    assert check.result is Result.FAILED
    assert check.message == "1 file in work/ belongs to no slot: intent-a.json"


def test_processes_of_a_dead_agent(config: Config) -> None:
    """
    Found by the file's id in their environment.
    """
    mark = {"id": "0123456789-987654321", "attempt": 1, "interruptions": 0, "boot": "b"}
    (config.agent.state_dir / "running").write_text(json.dumps(mark) + "\n")
    child = subprocess.Popen(["sleep", "60"], env={"CONDUCTOR_FILE_ID": "0123456789-987654321"})
    try:
        wait_until(lambda: said(look(config), "leftovers").result is Result.WARNING)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()

    assert said(look(config), "leftovers").result is Result.OK


def spoil_beginning(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)


def mark_damaged(path: Path) -> None:
    path.with_name("history.db.corrupt").write_text("page 7\n")


@pytest.mark.parametrize("spoil", [spoil_beginning, mark_damaged])
def test_damaged_database(config: Config, spoil: Callable[[Path], None]) -> None:
    """
    The next start begins a new one and takes what is in the slots as new files; that is what is told.
    """
    store = make_store(config)
    stray = config.agent.work_dir / "agent" / "5" / "intent-9.json"
    stray.parent.mkdir(parents=True)
    stray.write_text("{}")
    spoil(store.path)

    found = look(config)

    assert said(found, "database").result is Result.FAILED
    assert found.recovery is not None
    assert [type(action) for action in found.recovery] == [Adopt]


def test_damage_in_the_middle_is_found(config: Config) -> None:
    """
    The database can be read, up to that page.
    """
    store = make_store(config)
    with closing(sqlite3.connect(store.path)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_attempts_1'"
        page = connection.execute(query).fetchone()[0]
    with store.path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))

    found = look(config)

    assert said(found, "database").result is Result.OK
    assert said(found, "integrity").result is Result.FAILED


def test_database_of_another_program(config: Config) -> None:
    """
    What recovery would do cannot be known.
    """
    with closing(sqlite3.connect(config.agent.state_dir / "history.db")) as connection, connection:
        connection.execute("CREATE TABLE t (x)")

    found = look(config)

    assert said(found, "database").result is Result.FAILED
    assert said(found, "leftovers").result is Result.SKIPPED
    assert found.recovery is None


def test_older_schema_is_upgraded_by_the_start(config: Config) -> None:
    """
    A warning; its rows are not read.
    """
    store = make_store(config)
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
        connection.execute("UPDATE meta SET schema_version = 0")

    found = look(config)

    assert said(found, "database").result is Result.WARNING
    assert said(found, "leftovers").result is Result.SKIPPED


def test_clock_behind_the_last_sample(config: Config) -> None:
    """
    It was set back since.
    """
    with closing(Store.open(config.agent.state_dir, now=rows.NOW)) as store:
        changes = rows.whole_life(1)
        changes.samples.append(Sample(taken_at=clock.now_us() + 3600 * clock.SECOND))
        store.writer.commit(changes)

    assert said(look(config), "clock").result is Result.WARNING


def test_clock_that_cannot_be_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A machine without a battery begins in 1970.
    """
    monkeypatch.setattr(clock, "now_us", lambda: 5 * clock.SECOND)

    (check,) = check_clock(None)

    assert check.result is Result.FAILED
    assert "1970-01-01T00:00:05Z" in check.message


def test_modes_are_read_as_the_kernel_reads_them(tmp_path: Path) -> None:
    """
    The owner's bits for the owner even where the group has more; every directory above counts.
    """
    file = tmp_path / "folder" / "file"
    file.parent.mkdir()
    file.touch()
    ours = file.stat()
    owner = User(ours.st_uid + 12345, frozenset(), "owner")
    member = User(owner.uid, frozenset({ours.st_gid}), "member")
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o011)

    file.parent.chmod(0o755)
    file.chmod(0o640)
    assert member.may(file, os.R_OK)
    assert not member.may(file, os.W_OK)
    assert not owner.may(file, os.R_OK)
    file.chmod(0o604)
    assert not member.may(file, os.R_OK)
    assert owner.may(file, os.R_OK)
    file.parent.chmod(0o700)
    assert not owner.may(file, os.R_OK)


def test_pauses_of_an_agent_that_is_off_are_told(config: Config) -> None:
    """
    They stand at the next start, which under a drain runs nothing.
    """
    make_store(config)
    assert "intake" not in {check.name for check in look(config).checks}

    with closing(Store.open(config.agent.state_dir, now=rows.NOW)) as store:
        store.writer.commit(Changes(pauses={"operator": (rows.NOW, "moving"), "drain": (rows.NOW, "later")}))
    found = look(config)

    intake = [check for check in found.checks if check.name == "intake"]
    since = clock.rfc3339(rows.NOW)
    assert {check.message for check in intake} == {
        f"paused since {since}: operator: moving",
        f"paused since {since}: drain: later",
    }
    assert {(check.result, check.hint) for check in intake} == {
        (Result.WARNING, "`conductor-loop resume` ends it")
    }
    assert found.drained


@pytest.mark.root
def test_agent_that_this_user_may_not_ask_is_no_broken_one(config: Config, tmp_path: Path) -> None:
    """
    Skipped, with who may; where the socket is for everybody and nobody answers, it is a failure.
    """
    make_store(config)
    path = config.agent.state_dir / "admin.sock"
    config = changed(config, "http", metrics_port=0)
    with (
        closing(DirectoryLock(config.agent.state_dir, "the agent 'x', process 4711")),
        closing(socket.socket(socket.AF_UNIX)) as listener,
    ):
        (config.agent.state_dir / ".owner").chmod(0o644)
        listener.bind(str(path))
        path.chmod(0o660)
        with as_nobody(config.agent.state_dir):
            shut_out = look(config)
        path.chmod(0o666)
        with as_nobody(config.agent.state_dir):
            silent = look(config)

    for name in ("agent", "admin_socket"):
        check = said(shut_out, name)
        assert check.result is Result.SKIPPED, name
        assert check.hint.startswith("run as the agent's user, ")
    assert said(silent, "agent").result is Result.FAILED
    assert said(silent, "admin_socket").result is Result.WARNING
