"""
A configuration that changes while files are worked on: none is lost, interrupted or filed twice.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import INTENT, Agent
from conductor_loop.errors import ConfigError
from conservation import assert_conserved
from reloading import Reloading, reloading
from waiting import wait_until

PROGRAM = Path(__file__).with_name("reloading_agent.py")

#: Waits for the word to go on; writes down its beginning and its end.
PATIENT = """#!/bin/sh
echo "start $CONDUCTOR_NAME $$" >> "$2/log"
while ! [ -e "$2/go" ]; do sleep 0.02; done
echo "end $CONDUCTOR_NAME $$" >> "$2/log"
"""

#: Writes down which configuration it was called by; the first attempt at some files takes a while or is to be repeated.
WITNESS = """#!/bin/sh
echo "$CONDUCTOR_FILE_ID $CONDUCTOR_ATTEMPT $0 $*" >> "$2/log"
case "$CONDUCTOR_NAME $CONDUCTOR_ATTEMPT" in *slow*\\ 1) while ! [ -e "$2/go" ]; do sleep 0.02; done;; esac
case "$CONDUCTOR_NAME $CONDUCTOR_ATTEMPT" in *again*\\ 1) exit 75;; esac
"""


def script(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o700)
    return str(path)


def log_of(root: Path) -> list[str]:
    path = root / "out" / "log"
    return path.read_text().splitlines() if path.exists() else []


def patient(root: Path, **agent: object) -> dict[str, dict[str, object]]:
    command = [script(root / "patient", PATIENT), "{path}", "{out_dir}"]
    return {"agent": agent, "processor": {"command": command}}


def test_fewer_workers_interrupt_nothing_and_then_work_one_by_one(tmp_path: Path) -> None:
    """
    Eight commands run when one is asked for: all eight end well, and from then on there is one at a time.
    """
    names = [f"intent-{number:02}.json" for number in range(14)]
    with reloading(tmp_path, patient(tmp_path, max_workers=8)) as one:
        for name in names:
            one.directories.drop(name)
        wait_until(lambda: len(log_of(tmp_path)) == 8)
        reloaded = one.reload(patient(tmp_path, max_workers=1))
        assert one.agent.live.snapshot().max_workers == 1
        (tmp_path / "out" / "go").touch()
        one.directories.filed(14)

    rows = assert_conserved(tmp_path, names)
    assert reloaded.changed == {"agent.max_workers": (8, 1)}
    assert {(row["outcome"], row["attempts"], row["exit_code"]) for row in rows} == {("processed", 1, 0)}
    running: set[str] = set()
    for count, line in enumerate(log_of(tmp_path)):
        word, name, _ = line.split()
        assert word == "end" or count < 8 or not running, "two at a time"
        (running.add if word == "start" else running.remove)(name)


def test_more_workers_begin_with_what_waits(tmp_path: Path) -> None:
    """
    The files that are queued run at once.
    """
    names = [f"intent-{number:02}.json" for number in range(8)]
    with reloading(tmp_path, patient(tmp_path, max_workers=1)) as one:
        for name in names:
            one.directories.drop(name)
        wait_until(lambda: len(log_of(tmp_path)) == 1)
        one.reload(patient(tmp_path, max_workers=8))
        wait_until(lambda: len(log_of(tmp_path)) == 8)
        (tmp_path / "out" / "go").touch()
        one.directories.filed(8)

    assert_conserved(tmp_path, names)


def test_agent_that_is_killed_after_a_shrink_leaves_every_mark(tmp_path: Path) -> None:
    """
    Eight commands run, one worker is asked for, the power fails: the next start knows of all eight.
    """
    names = [f"intent-{number:02}.json" for number in range(8)]
    child = subprocess.Popen(
        [sys.executable, PROGRAM, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROGRAM.parents[1])},
    )
    with child:
        try:
            tell(child, patient(tmp_path, max_workers=8), "ready")
            directories = Agent(tmp_path, patient(tmp_path, max_workers=8))
            for name in names:
                directories.drop(name)
            wait_until(lambda: len(log_of(tmp_path)) == 8)
            tell(child, patient(tmp_path, max_workers=1), "reloaded")
        finally:
            child.kill()
    end_processes(int(line.split()[2]) for line in log_of(tmp_path))
    directories = Agent(tmp_path, patient(tmp_path, max_workers=1))
    (tmp_path / "out" / "go").touch()

    assert directories.once() == 0
    rows = assert_conserved(tmp_path, names)
    assert [row["interruptions"] for row in rows] == [1] * 8  # which only its mark says of a file


def tell(child: subprocess.Popen[str], settings: dict[str, dict[str, object]], answer: str) -> None:
    """
    Give the agent a configuration and wait for its answer.
    """
    assert child.stdin
    assert child.stdout
    child.stdin.write(json.dumps(settings) + "\n")
    child.stdin.flush()
    assert child.stdout.readline() == f"{answer}\n"


def end_processes(pids: Iterable[int]) -> None:
    """
    Kill what a dead agent has left running, as a power failure does.
    """
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: is_dead(pid))  # type: ignore[misc]


def is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def witness(root: Path, turn: int, **sections: dict[str, object]) -> dict[str, dict[str, object]]:
    """
    Return a configuration by which one can tell from a command line, and from a status file, which turn it is of.
    """
    command = [script(root / f"turn-{turn}" / "witness", WITNESS), "{path}", "{out_dir}", f"turn-{turn}"]
    processor = {"command": command, "mode": mode_of(turn)}
    return {**sections, "processor": {**processor, **sections.get("processor", {})}}


def mode_of(turn: int) -> str:
    return "structured" if turn % 2 else "direct"


def turn_of_attempt(line: str) -> int:
    """
    Return the turn that a command was called in; everything in its line must be of the same.
    """
    _, _, program, _, _, marker, *more = line.split()
    turn = int(marker.removeprefix("turn-"))
    assert Path(program).parent.name == marker
    assert more == (["-structured"] if mode_of(turn) == "structured" else [])
    return turn


def assert_each_attempt_ran_under_one_configuration(root: Path, rows: list[dict[str, Any]]) -> None:
    """
    The command lines are each of one turn, there is one for each attempt, and the status file agrees with the last.
    """
    last: dict[str, tuple[int, int]] = {}
    for line in log_of(root):
        file_id, attempt = line.split()[:2]
        last[file_id] = max(last.get(file_id, (0, 0)), (int(attempt), turn_of_attempt(line)))
    assert len(log_of(root)) == sum(row["attempts"] for row in rows)
    for row in rows:
        if row["attempts"]:
            told = json.loads((root / "handoff" / "status" / row["status_name"]).read_bytes())
            number, turn = last[told["id"]]
            assert number == row["attempts"]
            assert Path(told["porch_path"]).parent.name == f"turn-{turn}"
            assert told["mode"] == mode_of(turn)


def test_command_that_runs_ends_under_the_old_configuration(tmp_path: Path) -> None:
    """
    Its end is judged by it, and its status file tells of it; the next attempt is of the new one.
    """
    names = ["intent-slow.json", "intent-slow-again.json"]
    with reloading(tmp_path, witness(tmp_path, 0, retry={"initial_delay": "1ms"})) as one:
        for name in names:
            one.directories.drop(name)
        wait_until(lambda: len(log_of(tmp_path)) == 2)
        one.reload(witness(tmp_path, 1, retry={"max_attempts": 1}))
        (tmp_path / "out" / "go").touch()
        one.directories.filed(2)

    rows = assert_conserved(tmp_path, names)
    assert {row["name"]: row["attempts"] for row in rows} == dict(zip(names, (1, 2), strict=True))
    assert [turn_of_attempt(line) for line in log_of(tmp_path)] == [0, 0, 1]
    assert_each_attempt_ran_under_one_configuration(tmp_path, rows)


def test_bad_configuration_changes_nothing(tmp_path: Path) -> None:
    """
    Whether file, schema or handler are bad; files go on under the one in use.
    """
    bad: list[dict[str, dict[str, object]]] = [
        {"agent": {"max_workers": 0}},
        {"validation": {"schema": str(tmp_path / "schema.json")}},
        {"processor": {"kind": "python", "handler": "nowhere.at_all:handle"}},
    ]
    (tmp_path / "schema.json").write_text('{"type": "nonsense"}')
    with reloading(tmp_path, witness(tmp_path, 0)) as one:
        before = one.reloader.config
        for turn, sections in enumerate(bad, start=1):
            with pytest.raises(ConfigError):
                one.reload(witness(tmp_path, turn, **sections))
        one.directories.drop("intent-a.json")
        one.directories.filed(1)
        assert one.reloader.config == before

    rows = assert_conserved(tmp_path, ["intent-a.json"])
    assert_each_attempt_ran_under_one_configuration(tmp_path, rows)
    assert turn_of_attempt(log_of(tmp_path)[0]) == 0


def test_another_pattern_leaves_the_names_of_before(tmp_path: Path) -> None:
    """
    What lay there unmatched is taken without another event; what matches no more stays where it is.
    """
    with reloading(tmp_path, witness(tmp_path, 0, agent={"scan_interval": "1h"})) as one:
        one.directories.drop("order-a.json")
        one.directories.drop("intent-a.json")
        one.directories.filed(1)
        one.reload(witness(tmp_path, 1, agent={"scan_interval": "1h", "pattern": "order-*.json"}))
        one.directories.filed(2)
        one.directories.drop("intent-b.json")
        one.directories.drop("order-b.json")
        one.directories.filed(3)

    assert (tmp_path / "handoff" / "intent-b.json").exists()
    assert_conserved(tmp_path, ["intent-a.json", "order-a.json", "order-b.json"], pattern="order-*.json")


def test_schema_with_other_content_is_read_anew(tmp_path: Path) -> None:
    """
    Though no key has changed.
    """
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}')
    settings = witness(tmp_path, 0, validation={"schema": str(schema)})
    with reloading(tmp_path, settings) as one:
        one.directories.drop("intent-a.json")
        one.directories.filed(1)
        schema.write_text('{"type": "array"}')
        assert one.reload().changed == {}
        one.directories.drop("intent-b.json")
        one.directories.filed(2)

    rows = assert_conserved(tmp_path, ["intent-a.json", "intent-b.json"])
    assert [row["outcome"] for row in rows] == ["processed", "rejected"]


def test_python_takes_the_place_of_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    And the other way round, without a restart.
    """
    (tmp_path / "reloaded_jobs.py").write_text("def handle(file):\n    return 'by python'\n")
    monkeypatch.syspath_prepend(tmp_path)
    python: dict[str, object] = {"kind": "python", "handler": "reloaded_jobs:handle"}
    names = [f"intent-{number}.json" for number in range(3)]
    with reloading(tmp_path, witness(tmp_path, 0)) as one:
        for number, name in enumerate(names):
            one.reload(witness(tmp_path, 0, processor=python if number == 1 else {}))
            one.directories.drop(name)
            one.directories.filed(number + 1)
    monkeypatch.delitem(sys.modules, "reloaded_jobs")

    rows = assert_conserved(tmp_path, names)
    assert [row["message"] == "by python" for row in rows] == [False, True, False]


#: What may be asked for while files are worked on; sections over those of `witness`.
RELOADS = st.fixed_dictionaries(
    {
        "agent": st.fixed_dictionaries(
            {
                "max_workers": st.sampled_from([1, 2, 3, 8, 0]),
                "look_ahead": st.sampled_from([1, 2, 64]),
                "pattern": st.sampled_from(["intent-*.json", "intent-again-*.json", "intent-[0-9]*"]),
                "settle": st.sampled_from(["0", "30ms"]),
                "reject_after": st.sampled_from(["0", "50ms"]),
                "scan_interval": st.sampled_from(["100ms", "1h"]),
                "min_free": st.sampled_from(["0", "1B"]),
            },
            optional={"name": st.just("other")},
        ),
        "retry": st.fixed_dictionaries(
            {
                "initial_delay": st.sampled_from(["1ms", "50ms"]),
                "max_attempts": st.sampled_from([1, 10]),
                "max_waiting": st.sampled_from([1, 1000]),
            }
        ),
        "validation": st.fixed_dictionaries({"schema": st.sampled_from(["intent", "none"])}),
    }
)
DROPS = st.lists(st.sampled_from(["", "again-", "bad-"]), min_size=1, max_size=6)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.lists(DROPS | RELOADS, min_size=3, max_size=10))
def test_nothing_is_lost_whatever_is_reloaded_when(steps: list[Any]) -> None:
    """
    Each file is filed once, and each attempt was made under exactly one configuration.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        dropped: list[str] = []
        with reloading(root, witness(root, 0)) as one:
            for turn, step in enumerate(steps, start=1):
                if isinstance(step, list):
                    dropped += drop(one, step, len(dropped))
                else:
                    reload_perhaps(one, witness(root, turn, **step))
            one.reload(witness(root, len(steps) + 1))
            one.directories.filed(len(dropped))
        rows = assert_conserved(root, dropped)
        assert_each_attempt_ran_under_one_configuration(root, rows)


def drop(one: Reloading, kinds: list[str], first: int) -> list[str]:
    names = [f"intent-{kind}{number}.json" for number, kind in enumerate(kinds, start=first)]
    for name in names:
        one.directories.drop(name, b"{" if "bad" in name else INTENT)
    return names


def reload_perhaps(one: Reloading, settings: dict[str, dict[str, object]]) -> None:
    try:
        one.reload(settings)
    except ConfigError:
        assert settings["agent"]["max_workers"] == 0


@pytest.mark.slow
def test_nothing_is_lost_under_load(tmp_path: Path) -> None:
    """
    Reloads without a break while hundreds of files come in.
    """
    done = threading.Event()
    turns = 0
    with reloading(tmp_path, witness(tmp_path, 0)) as one:

        def reload() -> None:
            nonlocal turns
            while not done.is_set():
                turns += 1
                agent: dict[str, object] = {"max_workers": 1 + turns % 8, "look_ahead": 1 + turns % 64}
                one.reload(witness(tmp_path, turns % 10, agent=agent))

        thread = threading.Thread(target=reload)
        thread.start()
        names = [f"intent-{'again-' * (number % 3 == 0)}{number}.json" for number in range(400)]
        try:
            for name in names:
                one.directories.drop(name)
            one.directories.filed(400, timeout=60)
        finally:
            done.set()
            thread.join()

    rows = assert_conserved(tmp_path, names)
    assert turns >= 10
    assert_each_attempt_ran_under_one_configuration(tmp_path, rows)
