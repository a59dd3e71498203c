"""
The administration from the command line, with and without a running agent.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from agents import PROGRAM, Agent, agent
from conductor_loop.ledger.locks import lock_for_command
from conservation import assert_conserved
from waiting import wait_until

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
#: works on what is mended, and fails otherwise; waits while there is a file `hold` beside its output
COMMAND = (
    'while [ -e "$1/hold" ]; do sleep 0.05; done; echo "looking for the cell"; '
    'grep -q mended "$0" || { echo "no such cell" >&2; exit 3; }'
)
MENDED = b'{"cell": "mended"}'
BROKEN = b'{"cell": "broken"}'


@contextmanager
def one_agent(root: Path, **settings: object) -> Iterator[Agent]:
    sections: dict[str, Mapping[str, object]] = {
        "agent": settings,
        "processor": {"command": ["/bin/sh", "-c", COMMAND, "{path}", "{out_dir}"]},
        "validation": {"schema": "none"},
    }
    with agent(root, sections) as one:
        yield one


def spawn(one: Agent, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, "--config", str(one.config), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ask(one: Agent, *arguments: str) -> tuple[int, str, str]:
    """
    Run one command; return exit code, stdout and stderr.
    """
    with spawn(one, *arguments) as process:
        out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, out, err


def facts(one: Agent, *arguments: str) -> dict[str, Any]:
    code, out, err = ask(one, *arguments, "-o", "json")
    assert (code, err) == (0, "")
    document: dict[str, Any] = json.loads(out)
    return document


def mend(paths: Iterable[Path]) -> None:
    for path in paths:
        path.write_bytes(MENDED)


def broken_files(one: Agent) -> list[Path]:
    return [path for path in one.failed.iterdir() if path.suffix == ".json"]


@pytest.mark.slow
def test_a_failed_file_is_found_read_mended_and_retried(tmp_path: Path) -> None:
    """The way that an operator goes, while the agent runs."""
    with one_agent(tmp_path) as one:
        one.start()
        one.drop("intent-a.json", BROKEN)
        one.drop("intent-b.json", MENDED)
        one.filed(2)

        found = facts(one, "files", "list", "--failed", "--since", "1h")["files"]
        assert [(file["name"], file["kind"]) for file in found] == [("intent-a.json", "command_failed")]
        old = found[0]["id"]
        assert "  | no such cell\n" in ask(one, "files", "show", "intent-a.json")[1]

        mend(broken_files(one))
        code, out, err = ask(one, "files", "retry", old, "--wait", "20s")
        assert (code, err) == (0, "")
        new = out.splitlines()[0].split()[2]
        assert out.splitlines()[0] == f"{old} -> {new} intent-a.json"
        assert facts(one, "files", "show", old)["retried_as"] == new
        after = facts(one, "files", "show", new)
        assert (after["outcome"], after["retry_of"]) == ("processed", old)
        assert ask(one, "files", "retry", old)[0] == 1

        one.stop()
        assert_conserved(tmp_path, ["intent-a.json", "intent-b.json"])


@pytest.mark.slow
def test_all_of_it_works_without_an_agent(tmp_path: Path) -> None:
    """What it changes is there at the next start, and not before."""
    with one_agent(tmp_path) as one:
        for name in "abc":
            one.drop(f"intent-{name}.json", BROKEN)
        assert one.once() == 1
        mend(broken_files(one))

        assert len(facts(one, "files", "list", "--failed")["files"]) == 3
        assert ask(one, "files", "retry", "--failed")[0] == 2
        code, out, err = ask(one, "files", "retry", "--failed", "--yes")
        assert (code, len(out.splitlines()), err) == (0, 3, "")
        assert [file["state"] for file in facts(one, "files", "list", "--open")["files"]] == ["queued"] * 3
        assert facts(one, "files", "list", "--unresolved")["files"] == []
        code, _, err = ask(one, "files", "retry", "--failed", "--yes")
        assert code == 1
        assert "3 files match: 3 were retried already" in err
        assert not broken_files(one)

        assert ask(one, "pause", "--message", "maintenance")[0] == 0
        one.start(ready=False)
        wait_until(lambda: "operator" in _pauses(one))
        one.filed(3)  # a pause is about new files
        one.drop("intent-d.json", MENDED)
        assert ask(one, "resume")[0] == 0
        one.filed(4)
        one.stop()

        assert ask(one, "drain", "--stop") == (0, "drained, as no agent runs\n", "")
        assert ask(one, "resume")[0] == 0
        for command in (["reload"], ["top"], ["status"], ["files", "retry", "1", "--wait", "1s"]):
            assert ask(one, *command)[0] == 3
        assert_conserved(tmp_path, [f"intent-{name}.json" for name in "abcd"])


def _pauses(one: Agent) -> dict[str, Any]:
    try:
        found: dict[str, Any] = one.get("/health")[1]["details"]["paused"]
    except OSError:
        return {}
    return found


@pytest.mark.slow
def test_open_files_are_seen_running_and_waiting(tmp_path: Path) -> None:
    """With the moment, and with what the attempt before said; without an agent nothing runs."""
    script = 'case "$0" in *slow*) while [ -e "$1/hold" ]; do sleep 0.05; done;; esac; exit 75'
    with agent(
        tmp_path,
        {
            "processor": {"command": ["/bin/sh", "-c", script, "{path}", "{out_dir}"]},
            "validation": {"schema": "none"},
            "retry": {"max_attempts": 2, "initial_delay": "1h", "max_delay": "1h", "give_up_after": "2h"},
        },
    ) as one:
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "hold").touch()
        one.start()
        one.drop("intent-a.json", MENDED)
        one.drop("intent-slow.json", MENDED)
        wait_until(lambda: set(_states(one)) == {"waiting", "running"})

        files = {file["state"]: file for file in facts(one, "files", "list", "--open")["files"]}
        assert files["running"]["running_since"] >= files["running"]["claimed_at"]
        assert files["waiting"]["last_failure"]["kind"] == "command_failed"
        (tmp_path / "out" / "hold").unlink()
        wait_until(lambda: _states(one) == ["waiting", "waiting"])
        one.stop()
        assert _states(one) == ["waiting", "waiting"]


def _states(one: Agent) -> list[str]:
    return [file["state"] for file in facts(one, "files", "list", "--open")["files"]]


@pytest.mark.slow
def test_two_administrators_retry_the_same_files_once(tmp_path: Path) -> None:
    """Each file goes to one of them; the other is told."""
    with one_agent(tmp_path, look_ahead=4, max_workers=2) as one:
        one.start()
        names = [f"intent-{number}.json" for number in range(12)]
        for name in names:
            one.drop(name, BROKEN)
        one.filed(len(names))
        mend(broken_files(one))
        ids = [str(row["number"]) for row in one.rows()]

        admins = [spawn(one, "files", "retry", *ids, "-o", "json") for _ in range(2)]
        answers = [json.loads(admin.communicate(timeout=60)[0]) for admin in admins]

        retried = [file["retry_of"] for answer in answers for file in answer["retried"]]
        refused = [file["id"] for answer in answers for file in answer["refused"]]
        assert sorted(int(name.rpartition("-")[2]) for name in retried) == sorted(map(int, ids))
        assert sorted(refused) == sorted(ids)
        assert {admin.returncode for admin in admins} <= {0, 1}

        wait_until(lambda: len(list(one.processed.iterdir())) == len(names), timeout=30)
        one.stop()
        assert_conserved(tmp_path, names)


@pytest.mark.slow
def test_drain_lets_what_runs_end_and_stops_the_agent(tmp_path: Path) -> None:
    """What was not taken yet is there for the next start."""
    with one_agent(tmp_path, max_workers=2, look_ahead=2) as one:
        (one.out / "hold").touch()
        one.start()
        for number in range(6):
            one.drop(f"intent-{number}.json", MENDED)
        wait_until(lambda: one.get("/metrics")[1]["workers"]["active_workers"] == 2)

        code, out, err = ask(one, "drain", "--wait", "200ms")
        assert (code, out) == (6, "")
        assert "running 2" in err
        draining = spawn(one, "drain", "--stop", "--wait", "30s")
        (one.out / "hold").unlink()
        out, err = draining.communicate(timeout=60)
        assert (draining.returncode, err) == (0, "")
        assert out == "drained, and the agent has stopped\n"
        assert one.ended(1.0) == 0
        assert len(list(one.handoff.glob("*.json"))) >= 2

        assert ask(one, "resume")[0] == 0
        assert one.once() == 0
        assert_conserved(tmp_path, [f"intent-{number}.json" for number in range(6)])


@pytest.mark.slow
def test_a_changed_configuration_is_taken_over_and_a_bad_one_is_not(tmp_path: Path) -> None:
    """The agent goes on with the old one, and `config show` says that they differ."""
    with one_agent(tmp_path) as one:
        one.start()
        good = one.config.read_text()
        one.config.write_text(good.replace('settle = "10ms"', 'settle = "soon"'))
        code, out, err = ask(one, "reload")
        assert (code, out) == (78, "")
        assert "settle" in err
        assert "the agent goes on with the configuration that it has" in err
        assert "reload: refused, " in one.log_text()
        one.config.write_text(good.replace('settle = "10ms"', 'settle = "20ms"'))
        assert "another configuration" in ask(one, "config", "show")[2]
        assert facts(one, "reload", "--dry-run")["changed"] == {
            "agent.settle": {"from": "10ms", "to": "20ms"}
        }
        assert ask(one, "reload")[:2] == (0, 'changed: agent.settle from "10ms" to "20ms"\n')
        assert ask(one, "config", "show")[2] == ""
        one.stop()


@pytest.mark.slow
def test_an_agent_that_dies_while_it_is_waited_for(tmp_path: Path) -> None:
    """Whoever waits is told, and not left waiting."""
    with one_agent(tmp_path, max_workers=1) as one:
        (one.out / "hold").touch()
        one.start()
        one.drop("intent-a.json", MENDED)
        wait_until(lambda: one.get("/metrics")[1]["workers"]["active_workers"] == 1)

        draining = spawn(one, "drain")
        wait_until(lambda: "drain" in _pauses(one))
        one.kill()
        _, err = draining.communicate(timeout=60)

        assert draining.returncode == 3
        assert "agent" in err
        (one.out / "hold").unlink()
        assert ask(one, "resume")[0] == 0
        assert one.once() == 0
        assert_conserved(tmp_path, ["intent-a.json"])


@pytest.mark.slow
def test_interrupted_command_leaves_nothing_half_done(tmp_path: Path) -> None:
    """Ctrl-C while many are retried without an agent: those that were told are retried, the others lie where they lay."""
    with one_agent(tmp_path) as one:
        names = [f"intent-{number}.json" for number in range(20)]
        for name in names:
            one.drop(name, BROKEN)
        assert one.once() == 1
        mend(broken_files(one))

        retrying = spawn(one, "files", "retry", "--failed", "--yes", "--rate", "10/s")
        assert retrying.stdout is not None
        assert retrying.stderr is not None
        first = [retrying.stdout.readline() for _ in range(3)]
        retrying.send_signal(signal.SIGINT)
        out, err = retrying.communicate(timeout=60)
        told = [*first, *out.splitlines()]

        assert retrying.returncode == 130
        assert f"stopped; retried: {len(told)} of 20 files" in err
        again = [row for row in one.rows() if row["retry_of"] is not None]
        assert len(again) in (len(told), len(told) + 1)
        assert len(broken_files(one)) == 20 - len(again)
        # Those that nobody retried have failed, and stay so.
        assert one.once() == 0
        rows = assert_conserved(tmp_path, names)
        assert len([row for row in rows if row["outcome"] == "processed"]) == len(again)


@pytest.mark.slow
def test_every_answer_has_the_documented_keys(tmp_path: Path) -> None:
    """As the reference lists them, the version first; also those of files and runs."""
    sys.path.append(str(REFERENCE))
    from json_page import DOCUMENTS, FILE, RUN, WHOLE_FILE  # type: ignore[import-not-found] # a script's

    with one_agent(tmp_path) as one:
        one.start()
        one.drop("intent-a.json", BROKEN)
        one.filed(1)
        answers = {name: _answer(one, name) for name in DOCUMENTS}
        one.stop()
        answers |= {"db upgrade": _answer(one, "db upgrade")}

    shown = answers.pop("files show")
    assert set(shown) == {"version", *FILE, *WHOLE_FILE}
    assert [set(run) for run in shown["runs"]] == [set(RUN)]
    assert [set(file) for file in answers["files list"]["files"]] == [set(FILE)]
    assert [set(file) for file in answers["top"]["files"]] == [set(FILE)]
    copied = {"size_bytes", "target", "version", "dry_run"}
    assert set(answers.pop("db backup")) == copied < {"version", *DOCUMENTS["db backup"]}
    for name, answer in answers.items():
        assert next(iter(answer)) == "version"
        assert set(answer) == {"version", *DOCUMENTS[name]}, name


def _answer(one: Agent, name: str) -> dict[str, Any]:
    arguments = {
        "files show": ["1"],
        "files retry": ["1", "--dry-run"],
        "files explain": [os.fspath(one.failed / "intent-a.json")],
    }
    if name == "db upgrade" and one.process is not None:
        return {}
    _, out, _ = ask(one, *name.split(), *arguments.get(name, []), "-o", "json")
    document: dict[str, Any] = json.loads(out)
    return document


@pytest.mark.slow
def test_drain_that_stops_the_agent_returns_when_its_process_is_gone(tmp_path: Path) -> None:
    """Whoever unmounts something then meets nobody."""
    with one_agent(tmp_path) as one:
        one.start()
        assert one.process is not None
        ended = []
        for _ in range(2):
            assert ask(one, "drain", "--stop")[:2] == (0, "drained, and the agent has stopped\n")
            ended.append(_is_gone(one.process.pid))
            assert one.ended() == 0
            one.start()

        assert ended == [True, True]
        one.stop()


def _is_gone(pid: int) -> bool:
    """
    Tell whether a process of ours has ended, whether anybody has asked for its exit code or not.
    """
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "Z"


@pytest.mark.slow
def test_pauses_are_the_same_with_and_without_an_agent(tmp_path: Path) -> None:
    """What they are, since when, and what a dry run says of them."""
    with one_agent(tmp_path) as one:
        one.start()
        first = facts(one, "pause", "--message", "moving")["pauses"]
        assert ask(one, "drain")[0] == 0
        online = facts(one, "resume", "--dry-run")
        one.stop()

        offline = facts(one, "resume", "--dry-run")
        assert offline == online
        assert sorted(offline["lifted"]) == ["drain", "operator"]
        assert offline["pauses"]["operator"] == first["operator"]
        assert facts(one, "drain", "--dry-run")["pauses"] == online["pauses"]
        second = facts(one, "pause", "--message", "second")
        assert second["before"] == first["operator"]
        assert second["pauses"]["operator"]["since"] == first["operator"]["since"]

        found = facts(one, "doctor")
        intake = {check["message"].split(": ")[1] for check in found["checks"] if check["name"] == "intake"}
        assert intake == {"drain", "operator"}
        one.start()
        assert _pauses(one) == second["pauses"]
        assert ask(one, "files", "explain", os.fspath(one.config))[0] == 1
        assert ask(one, "resume")[0] == 0
        one.stop()


@pytest.mark.slow
def test_drain_without_an_agent_counts_what_waits_for_another_attempt(tmp_path: Path) -> None:
    """It is in work, and stays there."""
    again = {"command": ["/bin/sh", "-c", "exit 75", "{path}"]}
    settings = {"processor": again, "retry": {"initial_delay": "1h", "max_delay": "1h"}}
    with agent(tmp_path, {**settings, "validation": {"schema": "none"}}) as one:
        one.start()
        one.drop("intent-a.json", MENDED)
        wait_until(lambda: one.get("/metrics")[1]["workers"]["retry_waiting"] == 1)
        one.stop()

        assert ask(one, "drain") == (0, "drained, as no agent runs; waiting for another attempt: 1\n", "")


@pytest.mark.slow
def test_another_agent_at_the_same_port_is_not_ours(tmp_path: Path) -> None:
    """Ours has stopped, and one with other directories has its port."""
    with agent(tmp_path / "a", {"agent": {"name": "edge-1"}}) as ours, agent(tmp_path / "b") as other:
        ours.start()
        other.config.write_text(other.config.read_text().replace(str(other.port), str(ours.port)))
        other.port = ours.port
        ours.stop()
        other.start()

        for command in ("health", "status"):
            code, out, err = ask(ours, command)
            assert (code, out) == (3, "")
            assert "another agent (agent) answers at" in err
        assert ask(other, "health")[0] == 0
        other.stop()


@pytest.mark.slow
def test_an_agent_may_start_while_files_are_retried_slowly(tmp_path: Path) -> None:
    """The command does not keep it from that in its rests, and goes on with its help."""
    with one_agent(tmp_path) as one:
        for name in "abc":
            one.drop(f"intent-{name}.json", BROKEN)
        assert one.once() == 1
        mend(broken_files(one))

        with spawn(one, "files", "retry", "--failed", "--yes", "--rate", "30/m") as retrying:
            wait_until(lambda: len(broken_files(one)) < 3, timeout=30)
            one.start()
            out, err = retrying.communicate(timeout=60)

        assert (retrying.returncode, len(out.splitlines()), err) == (0, 3, "")
        one.filed(3)
        one.stop()
        assert_conserved(tmp_path, [f"intent-{name}.json" for name in "abc"])


@pytest.mark.slow
def test_an_agent_waits_for_a_command(tmp_path: Path) -> None:
    """It does not end with "bad configuration", after which no supervisor would start it again."""
    with one_agent(tmp_path) as one:
        assert one.once() == 0
        with closing(lock_for_command(one.state)):
            one.start(ready=False)
            with pytest.raises(subprocess.TimeoutExpired):
                one.ended(2.0)
        wait_until(one.is_ready, timeout=20)
        one.stop()
