"""
Commands that do not want to end, say too much, or are not there.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from agents import Agent, agent
from conservation import assert_conserved
from waiting import wait_until

#: ignores TERM, and has a child and a grandchild in a session of its own that do as well
STUBBORN = """#!/bin/sh
trap '' TERM
setsid sh -c 'trap "" TERM; sleep 61.2345' &
sh -c 'trap "" TERM; sleep 61.2345' &
while :; do sleep 61.2345; done
"""


def test_nothing_survives_a_timeout(tmp_path: Path) -> None:
    """
    Neither the command nor its child nor a grandchild in another session, and timeouts count per attempt (defects 3
    and 22).
    """
    settings = {
        "processor": {"command": _script(tmp_path, STUBBORN), "timeout": "300ms", "kill_grace": "100ms"},
        "retry": {"max_attempts": 2},
    }
    with agent(tmp_path, settings) as one:
        one.start()
        one.drop("intent-a.json")
        one.filed(1)
        metrics = one.get("/metrics")[1]
        survivors = _stubborn()
        one.stop()

        rows = assert_conserved(tmp_path, ["intent-a.json"])
    assert survivors == []
    assert (rows[0]["kind"], rows[0]["attempts"]) == ("timeout", 2)
    assert metrics["errors"]["timeout_count"] == 2
    assert metrics["performance"]["retry_attempts_total"] == 1
    assert metrics["errors"]["processing_errors_by_type"] == {"timeout": 1}


@pytest.mark.slow
def test_300_megabytes_of_output_do_not_grow_the_agent(tmp_path: Path) -> None:
    """
    Head and tail are kept, the rest runs through.
    """
    script = (
        "#!/bin/sh\necho the head\nhead -c 300000000 /dev/zero | tr '\\0' 'x'\necho\necho the tail\nexit 3\n"
    )
    with agent(tmp_path, {"processor": {"command": _script(tmp_path, script)}}) as one:
        one.start()
        assert one.process is not None
        before = psutil.Process(one.process.pid).memory_info().rss
        peak = 0
        one.drop("intent-a.json")
        while not (one.failed / "intent-a.json").exists():
            peak = max(peak, psutil.Process(one.process.pid).memory_info().rss)
        one.stop()

        assert_conserved(tmp_path, ["intent-a.json"])
        log = (one.failed / "intent-a.json.error.log").read_bytes()
        (attempt,) = one.rows("SELECT * FROM attempts")
    assert peak - before < 30 * 1024 * 1024
    assert b"the head" in log
    assert b"the tail" in log
    assert len(log) < 70 * 1024
    assert attempt["output_bytes"] > 300_000_000


def test_a_grandchild_that_keeps_the_pipe_does_not_delay_the_outcome(tmp_path: Path) -> None:
    """
    A command that ends well and leaves something running has ended well (defect 22).
    """
    pid = tmp_path / "pid"
    script = f'#!/bin/sh\necho started\nsleep 62 &\necho $! > "{pid}"\n'
    with agent(tmp_path, {"processor": {"command": _script(tmp_path, script)}}) as one:
        one.start()
        one.drop("intent-a.json")
        one.filed(1, timeout=5)
        one.stop()
        os.kill(int(pid.read_text()), 9)

        rows = assert_conserved(tmp_path, ["intent-a.json"])
    assert rows[0]["outcome"] == "processed"


@pytest.mark.parametrize(
    "missing",
    [
        "missing",
        pytest.param("not executable", marks=pytest.mark.slow),
        pytest.param("no interpreter", marks=pytest.mark.slow),
    ],
)
def test_a_command_that_cannot_be_started_pauses_and_counts_against_no_file(
    tmp_path: Path, missing: str
) -> None:
    """
    When it is mended all run, and none has an attempt more than it had.
    """
    program = tmp_path / "program"
    if missing != "missing":
        program.write_text("#!/no/such/interpreter\n" if missing == "no interpreter" else "#!/bin/sh\n")
        program.chmod(0o755 if missing == "no interpreter" else 0o644)
    with agent(tmp_path, {"processor": {"command": [str(program), "{path}"]}}) as one:
        one.start()
        names = [f"intent-{number}.json" for number in range(20)]
        for name in names[:10]:
            one.drop(name)
        wait_until(lambda: "command" in _paused(one))
        for name in names[10:]:
            one.drop(name)
        assert str(program) in str(_paused(one)["command"])
        assert one.get("/health")[1]["components"]["worker_pool"] == "degraded"

        _script(tmp_path, "#!/bin/sh\n")
        one.filed(20)
        wait_until(lambda: _paused(one) == {})
        one.stop()
        rows = assert_conserved(tmp_path, names)
    assert {(row["outcome"], row["attempts"]) for row in rows} == {("processed", 1)}


@pytest.mark.slow
def test_a_mended_command_is_noticed_though_the_files_that_met_it_missing_are_gone(tmp_path: Path) -> None:
    """
    The pause must not hang on files that somebody can take away.
    """
    program = tmp_path / "program"
    with agent(tmp_path, {"processor": {"command": [str(program), "{path}"]}}) as one:
        one.start()
        one.drop("intent-a.json")
        wait_until(lambda: "command" in _paused(one))
        next(one.work.glob("*/*/intent-a.json")).unlink()
        wait_until(lambda: one.rows()[0]["outcome"] is not None, 15)
        _script(tmp_path, "#!/bin/sh\n")
        one.drop("intent-b.json")
        one.filed(1)
        one.stop()

        assert_conserved(tmp_path, ["intent-a.json", "intent-b.json"], gone={1})


def test_once_does_not_wait_for_a_missing_command(tmp_path: Path) -> None:
    """
    It says why and exits with 1; the file is worked on by the next start.
    """
    with agent(tmp_path, {"processor": {"command": [str(tmp_path / "program"), "{path}"]}}) as one:
        one.drop("intent-a.json")
        assert one.once() == 1
        assert "no such program" in one.log_text()

        _script(tmp_path, "#!/bin/sh\n")
        assert one.once() == 0
        assert_conserved(tmp_path, ["intent-a.json"])


def _script(tmp_path: Path, text: str) -> list[str]:
    program = tmp_path / "program"
    new = tmp_path / "program.new"
    new.write_text(text)
    new.chmod(0o755)
    new.rename(program)
    return [str(program), "{path}"]


def _paused(one: Agent) -> dict[str, object]:
    paused: dict[str, object] = one.get("/health")[1]["details"]["paused"]
    return paused


def _stubborn() -> list[psutil.Process]:
    """
    Return the processes of `STUBBORN` that are alive.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if "61.2345" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found
