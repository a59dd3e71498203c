"""
`files list`, `files show` and `files retry`, over an agent with made-up files.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete

from conductor_loop import cli
from conductor_loop.cli import retries, selection
from fake_admin import Console, FakeAgent, RefusalError, serve


@pytest.fixture
def console(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Console:
    return Console(tmp_path, capsys)


@pytest.fixture
def agent(console: Console, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    monkeypatch.setattr(retries, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(retries, "LOOK_SECONDS", 0.01)
    fake = FakeAgent()
    with serve(fake, console.socket):
        yield fake


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """
    Give stdin a terminal; what is written to the descriptor is typed there.
    """
    outer, inner = pty.openpty()
    with os.fdopen(inner) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield outer
    os.close(outer)


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_list_is_newest_first_and_whole(console: Console, agent: FakeAgent) -> None:
    """One line for each file, never cut where it goes into a pipe."""
    agent.add("intent-a.json", "failed", message="exit code 3: " + "x" * 500)
    agent.add("intent-b.json")
    agent.add("intent-c.json", None, duration_seconds=None)

    said = console.run("files", "list")

    assert (said.code, said.err) == (0, "")
    heads, *lines = said.out.splitlines()
    assert heads.split() == ["ID", "NAME", "OUTCOME", "KIND", "FINISHED", "ATTEMPTS", "SECONDS", "MESSAGE"]
    assert [line.split()[:7] for line in lines] == [
        ["5f3c-3", "intent-c.json", "queued", "-", "-", "1", "-"],
        ["5f3c-2", "intent-b.json", "processed", "-", "2026-11-23T07:02:00Z", "1", "0.250"],
        ["5f3c-1", "intent-a.json", "failed", "command_failed", "2026-11-23T07:01:00Z", "1", "0.250"],
    ]
    assert lines[2].endswith("x" * 500)
    assert {line.index("intent-") for line in lines} == {heads.index("NAME")}


def test_list_says_what_was_retried_and_what_nobody_looked_after(console: Console, agent: FakeAgent) -> None:
    """In a column of its own, where there is something to say."""
    agent.add("intent-a.json", "failed", retried_as="5f3c-9")
    agent.add("intent-b.json", "failed")

    heads, second, first = console.run("files", "list", "--failed").out.splitlines()
    assert first[heads.index("RETRIED") :].startswith("-> 5f3c-9  exit code 3")
    assert second[heads.index("RETRIED") :].split() == ["exit", "code", "3"]

    said = console.run("files", "list", "--unresolved")
    assert [line.split()[0] for line in said.out.splitlines()] == ["ID", "5f3c-2"]
    assert "RETRIED" not in said.out
    assert agent.asked[-1] == "GET /api/v1/files?unresolved=true&limit=20"


def test_open_files_say_what_they_are_doing(console: Console, agent: FakeAgent) -> None:
    """Since when, until when and why; their time is that of the claim."""
    late = {"kind": "timeout", "message": "did not end within 5s"}
    agent.add("intent-a.json", None, state="running", running_since="2026-11-23T07:44:00Z")
    agent.add(
        "intent-b.json", None, state="waiting", next_attempt_at="2999-11-23T07:45:00Z", last_failure=late
    )
    agent.add(
        "intent-c.json", None, state="waiting", next_attempt_at="2026-11-23T07:45:00Z", last_failure=late
    )

    heads, *lines = console.run("files", "list", "--open").out.splitlines()

    assert "CLAIMED" in heads
    assert "FINISHED" not in heads
    cells = [line[heads.index("OUTCOME") :].split(maxsplit=5) for line in lines]
    assert [(outcome, kind, message) for outcome, kind, _, _, _, message in cells] == [
        ("waiting", "timeout", "did not end within 5s"),
        ("waiting", "timeout", "until 2999-11-23T07:45:00Z: did not end within 5s"),
        ("running", "-", "since 2026-11-23T07:44:00Z"),
    ]
    assert {claimed for _, _, claimed, *_ in cells} == {"2026-11-23T07:43:17Z"}
    shown = [console.run("files", "show", number).out for number in (1, 2, 3)]
    assert "outcome     none yet, running since 2026-11-23T07:44:00Z\n" in shown[0]
    assert "outcome       none yet, waiting until 2999-11-23T07:45:00Z\n" in shown[1]
    assert "last failure  timeout: did not end within 5s\n" in shown[1]
    assert "outcome       none yet, waiting\n" in shown[2]


def test_more_than_the_limit_is_said(console: Console, agent: FakeAgent) -> None:
    """On stderr, so that the list stays a list; and in the document."""
    for name in "abc":
        agent.add(f"intent-{name}.json")

    assert console.run("files", "list", "--limit", 2).err == "2 shown, more match: --limit N\n"
    assert console.run("files", "list", "--limit", 3).err == ""
    assert console.run("files", "list", "--limit", 2, "-o", "json").document["next"] == "5f3c-2"
    assert console.run("files", "list", "--limit", 3, "-o", "json").document["next"] is None


def test_one_field_of_every_file(console: Console, agent: FakeAgent) -> None:
    """A line each, none for an empty list; a name that is not there is wrong usage."""
    assert console.run("files", "list", "--field", "files.*.id").out == ""
    assert console.run("files", "list", "--field", "files").out == "[]\n"
    agent.add("intent-a.json")
    agent.add("intent-b.json")

    assert console.run("files", "list", "--field", "files.*.id").out == "5f3c-2\n5f3c-1\n"
    assert console.run("files", "list", "--field", "files.*").out.count("\n") == 2
    assert console.run("files", "list", "--field", "files.*.colour").code == 2
    assert console.run("files", "list", "--field", "*").code == 2


def test_list_has_the_agents_documents_as_json(console: Console, agent: FakeAgent) -> None:
    """With a version of its own first."""
    agent.add("intent-a.json")

    document = console.run("files", "list", "-o", "json").document

    assert list(document) == ["version", "files", "next"]
    assert document["version"] == 1
    assert document["files"][0]["name"] == "intent-a.json"


def test_nothing_found_is_a_fact(console: Console, agent: FakeAgent) -> None:
    """Said in words beside the list, and no failure."""
    assert console.run("files", "list") == (0, "", "no such files\n")
    document = console.run("files", "list", "-o", "json").document
    assert document == {"version": 1, "files": [], "next": None}


def test_list_asks_for_what_was_chosen(console: Console, agent: FakeAgent) -> None:
    """Options of one kind add to each other."""
    console.run(
        *("files", "list", "--failed", "--rejected", "--kind", "timeout", "--kind", "signal"),
        *("--name", "intent-*.json", "--since", "2026-11-23", "--until", "2026-11-24", "--limit", 5),
    )

    assert agent.asked[-1] == (
        "GET /api/v1/files?outcome=failed%2Crejected&kind=timeout%2Csignal&name=intent-%2A.json"
        "&since=2026-11-23T00%3A00%3A00Z&until=2026-11-24T00%3A00%3A00Z&limit=5"
    )


def test_list_turns_the_pages(console: Console, agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many files as were asked for, and no request more."""
    monkeypatch.setattr(selection, "_PAGE", 3)
    for number in range(1, 9):
        agent.add(f"intent-{number}.json")

    names = [row[1] for row in rows(console.run("files", "list", "--limit", 5).out)[1:]]

    assert names == [f"intent-{number}.json" for number in (8, 7, 6, 5, 4)]
    assert len([request for request in agent.asked if "/files?" in request]) == 2
    assert len(rows(console.run("files", "list", "--limit", 100).out)) == 9


def test_show_tells_the_whole_story(console: Console, agent: FakeAgent) -> None:
    """Facts, then every run with its output."""
    file = agent.add("intent-a.json", "failed", retry_of="5f3c-9")
    run = {"attempt": 1, "started_at": "2026-11-23T07:43:17Z", "duration_seconds": 0.25, "exit_code": 75}
    rest: dict[str, Any] = {
        "signal": None,
        "kind": "command_failed",
        "message": "exit code 75",
        "survivors": 0,
        "output_cut": False,
    }
    killed = (
        "run 2  started 2026-11-23T07:43:17Z  0.250s  signal 9  command_failed: exit code 75  "
        "2 of its processes could not be ended"
    )
    output = "no such cell\r\nasked twice\n"
    file["runs"] = [
        {**run, **rest, "output": output, "output_bytes": len(output), "output_cut": False},
        {**run, **rest, "attempt": 2, "signal": 9, "output": "", "output_bytes": 0, "survivors": 2},
        {**run, **rest, "attempt": 3, "output": "head and tail", "output_bytes": 100_000, "output_cut": True},
    ]

    said = console.run("files", "show", "1")

    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    facts = [re.split("  +", line, maxsplit=1) for line in lines[: lines.index("")]]
    assert ["outcome", "failed"] in facts
    assert ["why", "command_failed: exit code 3"] in facts
    assert ["is now", "/srv/in/failed/intent-a.json"] in facts
    assert ["retry of", "5f3c-9"] in facts
    assert "retried as" not in said.out
    assert lines[lines.index("") + 1 :] == [
        "run 1  started 2026-11-23T07:43:17Z  0.250s  exit code 75  command_failed: exit code 75",
        "  | no such cell",
        "  | asked twice",
        "",
        killed,
        "  (no output)",
        "",
        "run 3  started 2026-11-23T07:43:17Z  0.250s  exit code 75  command_failed: exit code 75",
        "  | head and tail",
        "  (100000 bytes of output; this is its beginning and its end)",
    ]


def test_show_tells_of_runs_that_were_cut_off_among_the_others(console: Console, agent: FakeAgent) -> None:
    """In their order, though they are no attempts."""
    file = agent.add("intent-a.json")
    run = {"attempt": 1, "started_at": "2026-11-23T07:43:17Z", "duration_seconds": 0.25, "exit_code": 0}
    rest = {"signal": None, "kind": None, "message": "", "survivors": 0, "output": "", "output_bytes": 0}
    file["runs"] = [{**run, **rest, "output_cut": False}]
    file["interrupted_runs"] = [
        {"started_at": "2026-11-23T07:41:00Z", "found_at": "2026-11-23T07:42:00Z", "cause": "death"},
        {"started_at": "2026-11-23T07:44:00Z", "found_at": "2026-11-23T07:45:00Z", "cause": "stop"},
    ]

    lines = console.run("files", "show", "1").out.splitlines()

    assert [line for line in lines if line.startswith("run ")] == [
        "run cut off  started 2026-11-23T07:41:00Z  by the agent's death, found at the start of 2026-11-23T07:42:00Z",
        "run 1  started 2026-11-23T07:43:17Z  0.250s  exit code 0",
        "run cut off  started 2026-11-23T07:44:00Z  by the agent's stop, at 2026-11-23T07:45:00Z",
    ]


def test_retried_file_is_now_what_became_of_it(console: Console, agent: FakeAgent) -> None:
    """Its own place is that of the newer one."""
    agent.add("intent-a.json", "failed", retried_as="5f3c-2", path=None)
    agent.add("intent-a.json", retry_of="5f3c-1")

    said = console.run("files", "show", "1").out

    assert "is now      retried as 5f3c-2 (processed)\n" in said
    assert "not there any more" not in said


def test_reasons_that_are_not_all_there_say_how_to_see_the_rest(console: Console, agent: FakeAgent) -> None:
    """With the path where the file lies; of a file that is gone nobody can tell."""
    message = "too small; and 2 more"
    agent.add("intent a.json", "rejected", message=message)
    agent.add("intent-b.json", "rejected", message=message, path=None)

    explain = "(`conductor-loop files explain '/srv/in/failed/intent a.json'` shows all)"
    assert f"{message} {explain}\n" in console.run("files", "show", "1").out
    assert f"{message}\n" in console.run("files", "show", "2").out


def test_output_cannot_talk_to_the_terminal(console: Console, agent: FakeAgent) -> None:
    """Whatever a command printed, names and messages included; tabs stay readable."""
    nasty = "\x1b]0;owned\x07\x1b[2J\x9b31mred\rover\u202eback\ttab\x00"
    file = agent.add(f"intent-{nasty}.json", "failed", message=nasty)
    file["runs"] = [
        {
            "attempt": 1,
            "started_at": "2026-11-23T07:43:17Z",
            "duration_seconds": 0.25,
            "exit_code": 1,
            "signal": None,
            "kind": "command_failed",
            "message": nasty,
            "output": nasty,
            "output_bytes": len(nasty),
            "output_cut": False,
            "survivors": 0,
        }
    ]

    for command in (["files", "show", "1"], ["files", "list"]):
        said = console.run(*command)
        assert all(char.isprintable() or char == "\n" for char in said.out)
        assert "\\x1b]0;owned\\x07" in said.out


@pytest.mark.parametrize("wanted", ["5f3c-2", "2", "intent-a.json", "/srv/in/failed/intent-a.json"])
def test_file_is_shown_by_id_number_or_name(console: Console, agent: FakeAgent, wanted: str) -> None:
    """Of a name it is the newest file."""
    agent.add("intent-b.json")
    agent.add("intent-a.json")

    assert console.run("files", "show", wanted, "--field", "id") == (0, "5f3c-2\n", "")


def test_newest_of_several_files_is_shown_and_said_so(console: Console, agent: FakeAgent) -> None:
    """With the command that lists the others."""
    agent.add("intent-a.json")
    agent.add("intent-a.json")

    said = console.run("files", "show", "intent-a.json", "--field", "id")

    assert said.out == "5f3c-2\n"
    assert "files list --name 'intent-a.json'" in said.err


@pytest.mark.parametrize("name", ["intent-[1].json", "17", "x-17", "a*b"])
def test_name_may_look_like_a_pattern_or_an_id(console: Console, agent: FakeAgent, name: str) -> None:
    """It is taken literally."""
    agent.add(name)
    agent.add("intent-1.json")

    assert console.run("files", "show", name, "--field", "name") == (0, f"{name}\n", "")


@pytest.mark.parametrize(
    ("wanted", "said"), [("5f3c-99", "there is no file 5f3c-99"), ("nothing.json", "'nothing.json'")]
)
def test_unknown_file_is_a_failure(console: Console, agent: FakeAgent, wanted: str, said: str) -> None:
    """Exit code 1, and what was not found."""
    told = console.run("files", "show", wanted)

    assert (told.code, told.out) == (1, "")
    assert said in told.err


def test_retry_by_id_says_what_became_of_each(console: Console, agent: FakeAgent) -> None:
    """Old id, new id, name; what is refused does not keep the others."""
    agent.add("intent-a.json", "failed")
    agent.add("intent-b.json")
    agent.add("intent-c.json", "rejected")

    said = console.run("files", "retry", "5f3c-1", "2", "99", "3")

    assert said.code == 1
    assert said.out == "5f3c-1 -> 5f3c-4 intent-a.json\n5f3c-3 -> 5f3c-5 intent-c.json\n"
    assert said.err == "2 refused: 5f3c-2 cannot be retried\n99 refused: there is no file 99\n"


def test_retry_in_json(console: Console, agent: FakeAgent) -> None:
    """One document at the end."""
    agent.add("intent-a.json", "failed")

    document = console.run("files", "retry", "1", "1", "-o", "json").document

    assert document == {
        "version": 1,
        "dry_run": False,
        "retried": [
            {
                "id": "5f3c-2",
                "retry_of": "5f3c-1",
                "name": "intent-a.json",
                "path": "/srv/in/failed/intent-a.json",
                "outcome": None,
            }
        ],
        "refused": [{"id": "1", "error": "5f3c-1 cannot be retried", "kind": "conflict", "exit_code": 1}],
        "left": 0,
        "unknown": None,
    }


def test_chosen_files_are_retried_oldest_first(console: Console, agent: FakeAgent) -> None:
    """Those that were retried already, or lie nowhere any more, are left out; nobody is asked for each of them."""
    agent.add("intent-a.json", "failed")
    agent.add("intent-b.json", "failed", retried_as="5f3c-9")
    agent.add("intent-c.json", "failed", path=None)
    agent.add("intent-d.json", "rejected")
    agent.add("intent-e.json", "failed")

    said = console.run("files", "retry", "--failed", "--yes")

    assert (said.code, said.err) == (0, "")
    assert said.out == "5f3c-1 -> 5f3c-6 intent-a.json\n5f3c-5 -> 5f3c-7 intent-e.json\n"
    assert len([request for request in agent.asked if request.startswith("GET /api/")]) == 1


def test_other_options_choose_among_failed_and_rejected(console: Console, agent: FakeAgent) -> None:
    """Nothing else can be retried."""
    agent.add("intent-a.json", "failed")
    agent.add("intent-a.json", "rejected")
    agent.add("intent-a.json", "processed")

    said = console.run("files", "retry", "--name", "intent-*", "--yes", "--limit", 1)

    assert said.out == "5f3c-1 -> 5f3c-4 intent-a.json\n"
    assert len(rows(console.run("files", "retry", "--name", "intent-*", "--yes").out)) == 1


def test_choice_of_nothing_is_a_failure(console: Console, agent: FakeAgent) -> None:
    """Two causes, told apart."""
    assert console.run("files", "retry", "--failed", "--yes")[:2] == (1, "")
    agent.add("intent-a.json", "failed", retried_as="5f3c-9")
    said = console.run("files", "retry", "--failed", "--yes")

    assert said.code == 1
    assert said.err == "1 file matches: 1 was retried already\n"
    agent.add("intent-b.json", "failed", path=None)
    agent.add("intent-c.json", "failed", retried_as="5f3c-9")
    said = console.run("files", "retry", "--unresolved", "--yes")
    assert said.err == "3 files match: 2 were retried already, 1 is no longer in failed/\n"


def test_dry_run_retries_nothing(console: Console, agent: FakeAgent) -> None:
    """It asks nobody, and says which it would be."""
    agent.add("intent-a.json", "failed")

    said = console.run("files", "retry", "--failed", "--dry-run")

    assert said == (0, "5f3c-1 would be retried: intent-a.json\n", "")
    assert len(agent.files) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "which files?"),
        (["--limit", "3"], "which files?"),
        (["1", "--failed"], "not both"),
        (["1", "--limit", "3"], "not both"),
        (["intent-a.json"], "'intent-a.json' is no ID"),
        (["--failed"], "add --yes"),
        (["--failed", "--yes", "--rate", "fast"], '"5/s"'),
        (["--failed", "--yes", "--rate", "0/s"], "must be above 0"),
        (
            ["--failed", "--since", "2026-11-23", "--until", "2026-11-22"],
            "--since begins at 2026-11-23T00:00:00Z, and --until ended before that, at 2026-11-22T00:00:00Z",
        ),
        (["--failed", "--yes", "--wait", "soon"], "'soon'"),
        (["--processed"], "--processed"),
    ],
)
def test_wrong_use_of_retry(console: Console, agent: FakeAgent, arguments: list[str], said: str) -> None:
    """Exit code 2, before anything is done."""
    agent.add("intent-a.json", "failed")
    told = console.run("files", "retry", *arguments)

    assert (told.code, told.out) == (2, "")
    assert said in told.err
    assert not [request for request in agent.asked if request.startswith("POST")]


@pytest.mark.parametrize(("typed", "code"), [(b"y\n", 0), (b"n\n", 1), (b"\n", 1)])
def test_terminal_is_asked_before_a_choice_is_retried(
    console: Console, agent: FakeAgent, terminal: int, typed: bytes, code: int
) -> None:
    """No is the default; the question is not mixed into the answer."""
    agent.add("intent-a.json", "failed")
    os.write(terminal, typed)

    said = console.run("files", "retry", "--failed")

    assert said.code == code
    assert "retry 1 file (1 command_failed; intent-a.json)? [y/N]" in said.err
    assert "[y/N]" not in said.out
    assert len(agent.files) == (1 if code else 2)


def test_question_says_which_files_these_are(console: Console, agent: FakeAgent, terminal: int) -> None:
    """How many of how many, of which kinds, and the oldest by name."""
    agent.add("intent-a.json", "failed")
    agent.add("intent-b.json", "failed", kind="timeout")
    agent.add("intent-c.json", "failed")
    agent.add("intent-d.json", "failed")
    os.write(terminal, b"n\nn\n")

    asked = console.run("files", "retry", "--failed").err
    assert "retry 4 files (3 command_failed, 1 timeout; oldest intent-a.json)? [y/N]" in asked
    asked = console.run("files", "retry", "--failed", "--limit", 3).err
    assert "retry the oldest 3 of 4 files (2 command_failed, 1 timeout; oldest intent-a.json)?" in asked


def test_question_that_is_broken_off_ends_its_line(
    console: Console, agent: FakeAgent, terminal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C leaves the prompt of the shell on a line of its own."""
    agent.add("intent-a.json", "failed")

    def interrupted(question: str, *, err: bool) -> bool:
        print(question, end="", file=sys.stderr)
        raise click.Abort

    monkeypatch.setattr(click, "confirm", interrupted)

    said = console.run("files", "retry", "--failed")
    assert (said.code, said.err) == (130, "retry 1 file (1 command_failed; intent-a.json)?\n")


def test_full_agent_is_waited_for(console: Console, agent: FakeAgent) -> None:
    """It takes only as many at once as it can hold."""
    agent.add("intent-a.json", "failed")
    agent.busy = 3

    assert console.run("files", "retry", "1").code == 0
    assert len([request for request in agent.asked if request.startswith("POST")]) == 4


def test_rate_is_kept(console: Console, agent: FakeAgent) -> None:
    """One interval between two files."""
    for name in "abc":
        agent.add(f"intent-{name}.json", "failed")
    began = time.monotonic()

    assert console.run("files", "retry", "1", "2", "3", "--rate", "10/s").code == 0
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(("ends_as", "code"), [("processed", 0), ("failed", 1), (None, 6)])
def test_wait_gives_the_end_as_exit_code(
    console: Console, agent: FakeAgent, ends_as: str | None, code: int
) -> None:
    """All processed, one that was not, or too late."""
    agent.retry_ends_as = ends_as
    agent.add("intent-a.json", "failed")

    said = console.run("files", "retry", "1", "--wait", "50ms")

    assert said.code == code
    assert said.out.splitlines()[0] == "5f3c-1 -> 5f3c-2 intent-a.json"
    if ends_as:
        assert said.out.splitlines()[1].startswith(f"5f3c-2 {ends_as}")
    else:
        assert said.err == "not ended in 0.05s: 1 of 1 file\n"


def test_interrupted_retry_says_how_far_it_came(console: Console, agent: FakeAgent) -> None:
    """Ctrl-C while the agent has not answered yet: of that one file nothing is known."""
    for name in "abc":
        agent.add(f"intent-{name}.json", "failed")
    agent.before_retry_of["5f3c-2"] = lambda: os.kill(os.getpid(), signal.SIGINT)

    said = console.run("files", "retry", "1", "2", "3")

    assert (said.code, said.out) == (130, "5f3c-1 -> 5f3c-4 intent-a.json\n")
    assert "stopped; retried: 1 of 3 files; of 2 it is not known: `files show 2`\n" in said.err


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]], ids=str)
def test_paused_intake_ends_the_retry_at_the_first_file(
    console: Console, agent: FakeAgent, dry_run: list[str]
) -> None:
    """It is no matter of that file, and would be said of each of them."""

    def refuse() -> None:
        raise RefusalError(409, "paused", 1, "intake is paused (operator: lunch)")

    for name in "abc":
        agent.add(f"intent-{name}.json", "failed")
    agent.before_retry_of["5f3c-2"] = refuse

    said = console.run("files", "retry", "1", "2", "3", *dry_run)

    assert said.code == 1
    assert len(said.out.splitlines()) == 1
    assert said.err == ("2 refused: intake is paused (operator: lunch)\nstopped; retried: 1 of 3 files\n")
    document = console.run("files", "retry", "2", "3", "-o", "json", *dry_run).document
    assert [one["kind"] for one in document["refused"]] == ["paused"]
    assert (document["left"], document["unknown"]) == (1, None)


@pytest.mark.parametrize("deed", ["reload", "pause", "resume", "drain"])
def test_deed_that_was_cut_off_is_looked_up_in_the_status(
    console: Console, agent: FakeAgent, deed: str
) -> None:
    """Of no file is there anything to show."""
    agent.broken = True

    said = console.run(deed)

    assert (said.code, said.out) == (3, "")
    assert (
        "it is not known whether this was done; once it runs again, `conductor-loop status` tells" in said.err
    )


def test_agent_that_ends_in_between_ends_the_retry(console: Console, agent: FakeAgent) -> None:
    """It says what is known, and exits with 3."""
    for name in "ab":
        agent.add(f"intent-{name}.json", "failed")
    agent.before_retry_of["5f3c-2"] = agent.break_off

    said = console.run("files", "retry", "1", "2")

    assert (said.code, said.out) == (3, "5f3c-1 -> 5f3c-3 intent-a.json\n")
    assert "retried: 1 of 2 files; of 2 it is not known" in said.err
    assert "broke off its answer" in said.err


def completed(console: Console, *words: str) -> list[str]:
    """
    Return what a shell is told to complete the last word to.
    """
    typed = ["--config", str(console.config), *words[:-1]]
    found = ShellComplete(cli.cli, {}, "conductor-loop", "_X").get_completions(typed, words[-1])
    return [str(item.value) for item in found]


def test_shell_completes_ids_and_names(console: Console, agent: FakeAgent) -> None:
    """The newest first; for a retry only what can be retried; names once something was typed."""
    agent.add("intent-a.json", "failed")
    agent.add("intent b.json", "failed", retried_as="5f3c-3")
    agent.add("intent-b.json")

    assert completed(console, "files", "show", "") == ["5f3c-3", "5f3c-2", "5f3c-1"]
    assert completed(console, "files", "show", "int") == ["intent-b.json", "intent-a.json"]
    assert completed(console, "files", "retry", "5f3c-3", "") == ["5f3c-1"]


def test_shell_is_told_nothing_where_nobody_answers(console: Console) -> None:
    """Neither an error nor a long wait; the same with a configuration that is broken."""
    assert completed(console, "files", "show", "") == []

    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(console.socket))
        silent.listen()
        began = time.monotonic()
        assert completed(console, "files", "show", "") == []
        assert time.monotonic() - began < 3

    console.config.write_text("[[[")
    assert completed(console, "files", "show", "") == []
