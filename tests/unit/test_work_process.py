from __future__ import annotations

import os
import signal
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conductor_loop.work import process
from conductor_loop.work.process import Abort, Finish, How
from waiting import wait_until

ID = f"p-{uuid.uuid4()}"  # other runs of this test may be under way


@pytest.fixture
def abort() -> Iterator[Abort]:
    made = Abort()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """
    No descriptor and no child outlives a test.
    """
    before = sorted(os.listdir("/proc/self/fd"))
    yield
    assert len(before) == len(os.listdir("/proc/self/fd"))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def run(argv: list[str], abort: Abort, **changes: Any) -> Finish:
    options = {
        "executable": argv[0],
        "environ": {b"PATH": os.fsencode(os.environ["PATH"]), b"CONDUCTOR_FILE_ID": ID.encode()},
        "file_id": ID,
        "timeout": 30.0,
        "kill_grace": 5.0,
        "output_limit": 4096,
        "spawned": lambda pid, start_time: None,
    }
    return process.run(argv, abort=abort, **(options | changes))


def shell(script: str, abort: Abort, **changes: Any) -> Finish:
    return run(["/bin/sh", "-c", script], abort, **changes)


def python(script: str, abort: Abort, **changes: Any) -> Finish:
    return run([sys.executable, "-S", "-c", textwrap.dedent(script)], abort, **changes)


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def pids_in(path: Path) -> list[int]:
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


@contextmanager
def set_when(abort: Abort, condition: Callable[[], object]) -> Iterator[None]:
    """
    Tell the command to end once it is as far as the test needs it.
    """

    def wait() -> None:
        wait_until(condition, 30.0)
        abort.set()

    thread = threading.Thread(target=wait)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize("code", [0, 1, 75, 130, 143, 255])
def test_an_exit_code_is_reported_as_it_is(abort: Abort, code: int) -> None:
    """
    Also those by which shells speak of signals.
    """
    finish = shell(f"echo out; echo err >&2; exit {code}", abort)

    assert finish.how is How.EXITED
    assert (finish.run.exit_code, finish.run.signal) == (code, None)
    assert finish.run.output == b"out\nerr\n"
    assert finish.run.output_bytes == 8
    assert 0 < finish.run.duration < 5


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM, signal.SIGRTMIN])
def test_a_signal_is_no_exit_code(abort: Abort, number: int) -> None:
    """
    Neither 0 nor -N, but the signal.
    """
    finish = shell(f"kill -{int(number)} $$", abort)

    assert finish.how is How.EXITED
    assert (finish.run.exit_code, finish.run.signal) == (None, number)


def test_a_command_runs_in_a_session_of_its_own_without_input(abort: Abort) -> None:
    """
    It cannot wait for a terminal, and holds no descriptor of ours.
    """
    finish = python(
        """
        import os, sys
        print(os.getsid(0) == os.getpid(), sys.stdin.read() == "", sorted(os.listdir("/proc/self/fd"))[:4])
        """,
        abort,
    )

    assert finish.run.output == b"True True ['0', '1', '2', '3']\n"  # 3 is the listing itself


def test_the_spawned_process_is_told_with_its_start_time(abort: Abort) -> None:
    """
    For the running mark, while it runs; exactly as the kernel's table has it, whenever it was.
    """
    told: list[tuple[int | None, int | None]] = []
    for _ in range(100):
        shell("read x", abort, spawned=lambda pid, start: told.append((start, process.start_time(pid))))

    assert len(told) == 100
    assert all(start is not None and start == in_table for start, in_table in told)


def test_a_callback_that_fails_leaves_no_process_behind(abort: Abort) -> None:
    """
    What we started we end, whatever goes wrong on our side.
    """
    seen: list[int] = []

    def fail(pid: int, start_time: int | None) -> None:
        seen.append(pid)
        raise RuntimeError("no mark")

    with pytest.raises(RuntimeError, match="no mark"):
        shell("sleep 60", abort, spawned=fail)
    assert not alive(seen[0])


@pytest.mark.slow
def test_300_mb_of_output_cost_no_memory(abort: Abort) -> None:
    """
    Head and tail are kept, all of it is counted, the agent does not grow.
    """
    rest = 300 * 2**20
    script = f"""
        import os
        os.write(1, b"first\\n")
        block = b"x" * 2**20
        for _ in range({rest >> 20}):
            view = memoryview(block)
            while view: view = view[os.write(1, view):]
        os.write(2, b"last\\n")
    """
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # begins the peak anew
    before = _peak_kib()
    finish = python(script, abort, output_limit=65536)

    assert finish.run.output_bytes == rest + 11
    assert finish.run.output.startswith(b"first\nxxx")
    assert finish.run.output.endswith(b"xxxlast\n")
    assert len(finish.run.output) < 65536 + 100
    assert _peak_kib() - before < 20 * 1024


def _peak_kib() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def test_output_is_kept_that_came_right_before_the_end(abort: Abort) -> None:
    """
    All that the pipe holds, read after the exit; a command can make it larger than usual.
    """
    script = "import fcntl, os; fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 2**20); os.write(1, b'x' * 900_000); os._exit(0)"
    finish = python(script, abort, output_limit=10**6, spawned=lambda pid, start: _wait_for_zombie(pid))

    assert finish.run.output_bytes == 900_000


def test_a_background_child_that_keeps_the_pipe_does_not_delay_the_end(abort: Abort, tmp_path: Path) -> None:
    """
    It is left alone: a command may start a service.
    """
    pid_file = tmp_path / "pid"
    finish = shell(f"echo before; sleep 60 & echo $! > {pid_file}; exit 0", abort)
    (child,) = pids_in(pid_file)
    left_alone = alive(child)
    os.kill(child, signal.SIGKILL)

    assert finish.run.duration < 5
    assert finish.how is How.EXITED
    assert finish.run.exit_code == 0
    assert finish.run.output == b"before\n"
    assert left_alone


def test_a_background_child_that_writes_for_ever_does_not_delay_the_end(abort: Abort, tmp_path: Path) -> None:
    """
    Only what is there at the exit is taken.
    """
    pid_file = tmp_path / "pid"
    finish = shell(f"yes & echo $! > {pid_file}; exit 3", abort)
    os.kill(pids_in(pid_file)[0], signal.SIGKILL)

    assert finish.run.exit_code == 3
    assert finish.run.duration < 5


def test_a_timeout_asks_first(abort: Abort) -> None:
    """
    SIGTERM comes first, its handler has the grace to clean up, and what it says is kept.
    """
    finish = shell("trap 'echo cleaned; exit 0' TERM; echo ready; sleep 60 & wait", abort, timeout=1.0)

    assert finish.how is How.TIMEOUT
    assert finish.run.exit_code == 0
    assert finish.run.output == b"ready\ncleaned\n"
    assert finish.run.survivors == 0
    assert finish.run.duration < 4


def test_children_have_the_grace_too_when_their_leader_ends_first(abort: Abort, tmp_path: Path) -> None:
    """
    A shell ends at once; its child is not killed in the middle of cleaning up.
    """
    ready, done = tmp_path / "ready", tmp_path / "done"
    child = f"trap 'sleep 0.4; echo done > {done}; exit' TERM; echo > {ready}; while :; do sleep 0.1; done"
    with set_when(abort, ready.exists):
        finish = shell(f'sh -c "{child}" & wait', abort)

    assert finish.run.signal == signal.SIGTERM
    assert done.read_text() == "done\n"
    assert finish.run.survivors == 0


STUBBORN = """
    import os, signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    level, path = int(sys.argv[1]), sys.argv[2]
    with open(path, "a") as file:
        file.write(f"{os.getpid()} ")
    if level:
        options = [{}, {"start_new_session": True}, {"start_new_session": True, "env": {}}][level % 3]
        subprocess.Popen([sys.executable, "-S", __file__, str(level - 1), path], **options)
    print("up", level, flush=True)
    time.sleep(60)
"""


def stubborn(tmp_path: Path, levels: int) -> tuple[list[str], Path]:
    script = tmp_path / "stubborn.py"
    script.write_text(textwrap.dedent(STUBBORN))
    pid_file = tmp_path / "pids"
    return [sys.executable, "-S", str(script), str(levels), str(pid_file)], pid_file


@pytest.mark.slow
def test_of_a_tree_that_ignores_term_and_leaves_its_session_nothing_survives(
    abort: Abort, tmp_path: Path
) -> None:
    """
    Children in the group, in sessions of their own, and in sessions of their own with an empty environment.
    """
    argv, pid_file = stubborn(tmp_path, 5)
    finish = run(argv, abort, timeout=3.0, kill_grace=0.3)

    assert len(pids_in(pid_file)) == 6
    assert [pid for pid in pids_in(pid_file) if alive(pid)] == []
    assert finish.how is How.TIMEOUT
    assert finish.run.signal == signal.SIGKILL
    assert finish.run.survivors == 0
    assert finish.run.output.count(b"up") == 6


def test_the_agents_stop_ends_a_command_with_its_whole_tree(abort: Abort, tmp_path: Path) -> None:
    """
    In the middle of it; that is no timeout.
    """
    argv, pid_file = stubborn(tmp_path, 2)
    with set_when(abort, lambda: len(pids_in(pid_file)) == 3):
        finish = run(argv, abort, timeout=60.0, kill_grace=0.2)

    assert finish.how is How.ABORTED
    assert [pid for pid in pids_in(pid_file) if alive(pid)] == []
    assert finish.run.survivors == 0


def test_one_that_loses_its_parent_to_term_is_still_found(abort: Abort, tmp_path: Path) -> None:
    """
    It left session and environment, and the shell between dies first: it was seen before the signal was sent.
    """
    argv, pid_file = stubborn(tmp_path, 0)
    with set_when(abort, lambda: pids_in(pid_file)):
        finish = shell(f"setsid env -i {' '.join(argv)} & sleep 60", abort, kill_grace=0.2)

    (escaped,) = pids_in(pid_file)
    assert not alive(escaped)
    assert finish.run.survivors == 0


def test_a_detached_process_is_found_by_its_environment(abort: Abort, tmp_path: Path) -> None:
    """
    A daemon, by the book: forked twice, its parent long gone.
    """
    argv, pid_file = stubborn(tmp_path, 0)
    with set_when(abort, lambda: pids_in(pid_file)):
        finish = shell(f"(setsid {' '.join(argv)} &) ; sleep 60", abort, kill_grace=0.0)

    (escaped,) = pids_in(pid_file)
    assert not alive(escaped)
    assert finish.run.survivors == 0


def test_output_during_the_grace_does_not_block_the_end(abort: Abort, tmp_path: Path) -> None:
    """
    A command that must write a lot before it ends can do so.
    """
    ready = tmp_path / "ready"
    script = f"""
        import os, signal
        def end(*_):
            for _ in range(100): os.write(1, b"y" * 65536)
            os._exit(7)
        signal.signal(signal.SIGTERM, end)
        os.mknod({str(ready)!r})
        while True: signal.pause()
    """
    with set_when(abort, ready.exists):
        finish = python(script, abort, kill_grace=20.0)

    assert finish.run.exit_code == 7
    assert finish.run.output_bytes == 100 * 65536
    assert finish.run.duration < 15


def test_a_stop_that_was_said_before_is_heard(abort: Abort) -> None:
    """
    There is no moment in which it could be missed.
    """
    abort.set()
    abort.set()

    assert shell("sleep 60", abort).how is How.ABORTED


def test_one_word_ends_all_commands(abort: Abort) -> None:
    """
    Hearing it does not use it up.
    """
    ends: list[How] = []
    threads = [threading.Thread(target=lambda: ends.append(shell("sleep 60", abort).how)) for _ in range(3)]
    for thread in threads:
        thread.start()
    abort.set()
    for thread in threads:
        thread.join()

    assert ends == [How.ABORTED] * 3


def test_a_closed_abort_can_be_said_again() -> None:
    """
    Late signals are harmless, and no stranger's descriptor is written to.
    """
    abort = Abort()
    abort.close()
    abort.close()

    abort.set()


def test_a_command_that_ended_in_time_has_ended_whatever_else_is_due(abort: Abort) -> None:
    """
    Its exit counts more than a deadline that passed while nobody looked.
    """
    finish = shell(
        "exit 4", abort, timeout=0.0, kill_grace=10.0, spawned=lambda pid, start: _wait_for_zombie(pid)
    )

    assert finish.how is How.EXITED
    assert finish.run.exit_code == 4


def _wait_for_zombie(pid: int) -> None:
    wait_until(lambda: not alive(pid))


@pytest.mark.parametrize(
    ("content", "mode", "error"),
    [
        (None, 0, "No such file"),
        (b"#!/nowhere/interpreter\n", 0o755, "No such file"),
        (b"#!/bin/sh\n", 0o644, "Permission denied"),
        (b"neither\n", 0o755, "Exec format error"),
    ],
)
def test_a_command_that_cannot_start_says_why(
    abort: Abort, tmp_path: Path, content: bytes | None, mode: int, error: str
) -> None:
    """
    By the kernel's error number.
    """
    program = tmp_path / "program"
    if content is not None:
        program.write_bytes(content)
        program.chmod(mode)

    with pytest.raises(process.StartError, match=error) as caught:
        run([str(program)], abort)
    assert caught.value.errno


def test_an_argument_that_no_command_can_have_is_a_start_error(abort: Abort) -> None:
    """
    A NUL, and more than the kernel takes.
    """
    with pytest.raises(process.StartError, match="null") as nul:
        run(["/bin/true", "a\0b"], abort)
    with pytest.raises(process.StartError, match="too long") as long:
        run(["/bin/true", "x" * 2**22], abort)

    assert nul.value.errno is None
    assert long.value.errno


def test_no_descriptors_left_is_a_start_error(abort: Abort) -> None:
    """
    The agent's own trouble, told apart from the command's.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")), hard))
    try:
        with pytest.raises(process.StartError, match="Too many open files"):
            shell("true", abort)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_many_commands_at_once_do_not_get_in_each_others_way(abort: Abort) -> None:
    """
    Each has its own output, exit code and end.
    """
    found: list[tuple[int, bytes, int | None]] = []

    def work(number: int) -> None:
        for _ in range(10):
            finish = shell(f"echo {number}; exit {number}", abort)
            found.append((number, finish.run.output, finish.run.exit_code))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert time.monotonic() - began < 30
    assert len(found) == 80
    assert all(output == b"%d\n" % number and code == number for number, output, code in found)
