from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conductor_loop.model import Blocked, Interrupted, Kind, PauseReason, Succeeded
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.work.command import CommandProcessor
from conductor_loop.work.process import Abort
from conductor_loop.work.processor import Failure, File, Result
from waiting import wait_until

ID = f"s-{uuid.uuid4()}"  # other runs of this test may be under way
ECHO = [sys.executable, "-S", "-c", "import sys, json; print(json.dumps(sys.argv[1:]))"]


@pytest.fixture
def abort() -> Iterator[Abort]:
    made = Abort()
    yield made
    made.close()


def file(name: str = "intent-a.json") -> File:
    return File(
        path=Path("/slots/0") / name,
        name=name,
        id=ID,
        attempt=3,
        sha256="abc123",
        data={},
        deadline=Deadline.after(100.0),
    )


def processor(command: list[str], abort: Abort, **changes: Any) -> CommandProcessor:
    options = {
        "out_dir": "/out",
        "timeout": 30.0,
        "kill_grace": 1.0,
        "output_limit": 4096,
        "environ": {"PATH": os.environ["PATH"], "INHERITED": "yes"},
    }
    return CommandProcessor(command, abort=abort, **(options | changes))


def run(command: list[str], abort: Abort, name: str = "intent-a.json", **changes: Any) -> Result:
    return processor(command, abort, **changes).run(file(name), lambda pid, start_time: None)


def arguments(parts: list[str], abort: Abort, name: str = "intent-a.json", **changes: Any) -> list[str]:
    result = run([*ECHO, *parts], abort, name, **changes)
    assert result.run is not None
    found: list[str] = json.loads(result.run.output)
    return found


def test_placeholders_are_replaced_inside_arguments(abort: Abort) -> None:
    """
    Each of the five, several in one argument, other braces untouched.
    """
    parts = [
        "-intent",
        "{path}",
        "-out={out_dir}/{id}-{attempt}",
        "{name}",
        "{unknown}",
        "{}",
        "{{path}}",
        "$HOME",
    ]

    assert arguments(parts, abort) == [
        "-intent",
        "/slots/0/intent-a.json",
        f"-out=/out/{ID}-3",
        "intent-a.json",
        "{unknown}",
        "{}",
        "{/slots/0/intent-a.json}",
        "$HOME",
    ]


@pytest.mark.parametrize(
    "name", ["{id}", "intent-{path}.json", "a b;$(x)'\"", "new\nline", "-rf", "ü\\1\\g<0>"]
)
def test_a_file_name_is_never_expanded_or_interpreted(abort: Abort, name: str) -> None:
    """
    No second replacement, no shell, no patterns.
    """
    assert arguments(["{name}", "{path}"], abort, name) == [name, f"/slots/0/{name}"]


def test_structured_mode_appends_its_option(abort: Abort) -> None:
    """
    As porch knows it, last.
    """
    assert arguments(["-intent", "{path}"], abort, structured=True)[-1] == "-structured"
    assert arguments(["-intent", "{path}"], abort)[-1] == "/slots/0/intent-a.json"


def test_the_environment_is_what_was_given_and_the_files_identity(abort: Abort) -> None:
    """
    Four variables by which a command makes itself idempotent; nothing of the agent's own environment.
    """
    script = "import os; print(sorted(f'{k}={v}' for k, v in os.environ.items() if k[:3] in ('CON', 'INH', 'HOM')))"
    result = run([sys.executable, "-S", "-c", script], abort, "n\u00e4me")

    assert result.run is not None
    assert result.run.output.decode().strip() == str(
        [
            "CONDUCTOR_ATTEMPT=3",
            f"CONDUCTOR_FILE_ID={ID}",
            "CONDUCTOR_NAME=näme",
            "CONDUCTOR_SHA256=abc123",
            "INHERITED=yes",
        ]
    )


def test_exit_code_zero_is_success(abort: Abort) -> None:
    """
    Whatever it wrote.
    """
    result = run(["sh", "-c", "echo error >&2"], abort)

    assert result.ending == Succeeded()
    assert result.run is not None
    assert result.run.exit_code == 0


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 1", "sh exited with code 1"),
        ("echo one; echo; echo ' two\t' >&2; echo; exit 2", "sh exited with code 2: two"),
        ("exit 130", "sh exited with code 130"),
        ("exit 143", "sh exited with code 143"),
        (r"printf 'a\033[31mb\377'; exit 75", "sh exited with code 75: a [31mb\ufffd"),
    ],
)
def test_any_other_exit_code_is_a_failure_with_the_last_words(
    abort: Abort, script: str, message: str
) -> None:
    """
    The codes by which shells speak of signals included (defect 7).
    """
    result = run(["/bin/sh", "-c", script], abort)

    assert result.ending == Failure(Kind.COMMAND_FAILED, message)


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGKILL, "SIGKILL"), (40, "signal 40")]
)
def test_death_by_signal_is_a_failure_with_its_name(abort: Abort, number: int, name: str) -> None:
    """
    A crash or the kernel's killer is no success (defect 7).
    """
    result = run(["sh", "-c", f"kill -{int(number)} $$"], abort)

    assert result.ending == Failure(Kind.SIGNAL, f"sh was killed by {name}")
    assert result.run is not None
    assert result.run.signal == number


def test_a_timeout_is_a_failure_whatever_the_command_answers(abort: Abort) -> None:
    """
    Exit code 0 in the grace included.
    """
    result = run(["sh", "-c", "trap 'exit 0' TERM; sleep 60 & wait"], abort, timeout=0.3)

    assert result.ending == Failure(Kind.TIMEOUT, "sh did not end within 0.3s and was ended")
    assert result.run is not None
    assert result.run.survivors == 0


def test_ended_by_the_agents_stop_is_interrupted(abort: Abort) -> None:
    """
    Neither a failure nor an attempt.
    """
    abort.set()

    assert run(["sh", "-c", "exec sleep 60"], abort).ending == Interrupted()


def test_killed_while_the_agent_stops_is_interrupted(abort: Abort) -> None:
    """
    Whoever was faster, the agent or the one who stops it.
    """

    def stop_and_kill(pid: int, start_time: int | None) -> None:
        abort.set()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z")

    assert processor(["sleep", "60"], abort).run(file(), stop_and_kill).ending == Interrupted()


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (None, 0, "no such program"),
        (b"#!/bin/sh\n", 0o644, "may not be executed"),
        (b"#!/nowhere/interpreter\n", 0o755, "the interpreter that its first line names does not exist"),
        (b"neither\n", 0o755, "neither a program for this machine nor a script"),
    ],
)
def test_a_command_that_is_not_there_pauses_and_fails_no_file(
    abort: Abort, tmp_path: Path, content: bytes | None, mode: int, words: str
) -> None:
    """
    The message names the command and what would be right.
    """
    program = tmp_path / "porch"
    if content is not None:
        program.write_bytes(content)
        program.chmod(mode)

    result = run([str(program), "{path}"], abort)

    assert isinstance(result.ending, Blocked)
    assert result.ending.reason is PauseReason.COMMAND
    assert result.ending.message.startswith(f"{program}: ")
    assert words in result.ending.message
    assert result.run is None


def test_a_directory_is_no_command(abort: Abort, tmp_path: Path) -> None:
    """
    Though it is executable, in its way.
    """
    assert isinstance(run([str(tmp_path)], abort).ending, Blocked)


def test_a_command_that_comes_back_is_found(abort: Abort, tmp_path: Path) -> None:
    """
    On the given PATH, at once, and the problem says so before and after.
    """
    made = processor(["porch"], abort, environ={"PATH": str(tmp_path)})
    missing = made.run(file(), lambda pid, start_time: None).ending
    problem = made.problem()
    (tmp_path / "porch").write_bytes(b"#!/bin/sh\nexit 5\n")
    (tmp_path / "porch").chmod(0o755)

    assert problem == "porch: no such program; install it, or give its full path"
    assert missing == Blocked(PauseReason.COMMAND, problem)
    assert made.problem() is None
    assert made.run(file(), lambda pid, start_time: None).ending == Failure(
        Kind.COMMAND_FAILED, "porch exited with code 5"
    )


def test_arguments_that_the_kernel_refuses_are_a_failure(abort: Abort) -> None:
    """
    They stay what they are however often they are tried.
    """
    result = run(["true", "x" * 2**22], abort)

    assert isinstance(result.ending, Failure)
    assert result.ending.kind is Kind.COMMAND_FAILED
    assert result.ending.message.startswith("true cannot be called with these arguments: ")
    assert run(["true", "a\0b"], abort).ending == Failure(
        Kind.COMMAND_FAILED, "true cannot be called with these arguments: embedded null byte"
    )


def test_no_descriptors_left_pauses_and_fails_no_file(abort: Abort) -> None:
    """
    The agent's trouble, with what to do about it.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")), hard))
    try:
        ending = run(["true"], abort).ending
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert ending == Blocked(
        PauseReason.COMMAND, "true: no more files can be opened now; raise the limit (LimitNOFILE, ulimit -n)"
    )


def test_a_lost_exit_code_is_not_taken_for_success() -> None:
    """
    Started with SIGCHLD ignored, the kernel reaps by itself, and subprocess would say 0.
    """
    script = textwrap.dedent(
        """
        import signal
        from pathlib import Path
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        from conductor_loop.runtime.deadline import Deadline
        from conductor_loop.work.command import CommandProcessor
        from conductor_loop.work.process import Abort
        from conductor_loop.work.processor import File
        file = File(path=Path("/"), name="a", id="s-1", attempt=1, sha256="", data=None, deadline=Deadline(0.0))
        processor = CommandProcessor(["/bin/true"], out_dir="/", timeout=9.0, kill_grace=1.0, output_limit=9,
                                     environ={}, abort=Abort())
        endings = [processor.run(file, lambda pid, start: None).ending for _ in range(30)]
        print(*{(ending.reason, ending.message) for ending in endings})
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    lost = "/bin/true: its exit code was lost; the agent is to be started with SIGCHLD not ignored"
    assert done.stdout.strip() == str((PauseReason.COMMAND, lost))
