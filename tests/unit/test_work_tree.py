from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor_loop.work.tree import Tree, end_tree, start_time
from waiting import wait_until

RUN = uuid.uuid4()  # other runs of this test may be under way
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def environ(file_id: str) -> dict[str, str]:
    return {**os.environ, "CONDUCTOR_FILE_ID": file_id}


def test_the_start_time_tells_a_process_from_a_later_one(started: list[subprocess.Popen[bytes]]) -> None:
    """
    The same each time it is asked for, and None for a process that is gone.
    """
    started.append(process := subprocess.Popen(SLEEP))
    first = start_time(process.pid)

    assert first is not None
    assert first == start_time(process.pid)
    assert first >= (start_time(os.getpid()) or 0)
    process.kill()
    process.wait()
    assert start_time(process.pid) is None


def test_a_name_with_brackets_and_spaces_does_not_confuse(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    """
    The command's name stands unquoted in the middle of the line.
    """
    program = tmp_path / "a) R 1 (b\n"
    program.symlink_to("/bin/sleep")
    started.append(process := subprocess.Popen([program, "60"], env=environ(f"{RUN}-brackets")))

    assert (start_time(process.pid) or 0) >= (start_time(os.getpid()) or 0)
    assert [process.pid] == [member.pid for member in Tree(f"{RUN}-brackets", None).alive()]


def test_what_a_dead_agent_left_is_found_by_the_file_id_and_ended(
    started: list[subprocess.Popen[bytes]],
) -> None:
    """
    Without any pid; a process of another file, though its id begins alike, is left alone.
    """
    ours = [subprocess.Popen(SLEEP, env=environ(f"{RUN}-1"), start_new_session=True) for _ in range(2)]
    other = subprocess.Popen(SLEEP, env=environ(f"{RUN}-10"), start_new_session=True)
    started.extend([*ours, other])

    assert end_tree(f"{RUN}-1", None, None) == 0
    assert not any(alive(process.pid) for process in ours)
    assert alive(other.pid)


def test_what_cleared_its_environment_is_found_by_the_leader(started: list[subprocess.Popen[bytes]]) -> None:
    """
    The pid and start time of the running mark lead to its group.
    """
    started.append(process := subprocess.Popen(SLEEP, env={}, start_new_session=True))

    assert end_tree(f"{RUN}-2", process.pid, start_time(process.pid)) == 0
    assert not alive(process.pid)


def test_a_pid_with_another_start_time_is_somebody_else(started: list[subprocess.Popen[bytes]]) -> None:
    """
    Numbers are used again; nobody's process is killed for that.
    """
    started.append(process := subprocess.Popen(SLEEP, env={}, start_new_session=True))

    assert end_tree(f"{RUN}-3", process.pid, (start_time(process.pid) or 0) + 1) == 0
    assert end_tree(f"{RUN}-3", process.pid, None) == 0
    assert alive(process.pid)


def test_nothing_left_is_nothing_to_do() -> None:
    """
    The usual case of a recovery.
    """
    assert end_tree(f"{RUN}-4", None, None) == 0
    assert end_tree(f"{RUN}-4", 2**22 + 1, 5) == 0


def test_the_agent_itself_is_never_a_member() -> None:
    """
    An agent may be somebody's command, with a file id in its own environment.
    """
    code = (
        f"from conductor_loop.work.tree import end_tree; print(end_tree('{RUN}-5', None, None), 'still here')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ(f"{RUN}-5"), capture_output=True, check=True, text=True
    )

    assert done.stdout == "0 still here\n"


def test_one_that_left_everything_is_remembered(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    """
    New session, empty environment, and its parent gone: known because it was seen before.
    """
    pid_file = tmp_path / "pid"
    script = textwrap.dedent(
        f"""
        import subprocess, sys, time
        child = subprocess.Popen({SLEEP!r}, env={{}}, start_new_session=True)
        open({str(pid_file)!r}, "w").write(f"{{child.pid}} ")
        time.sleep(60)
        """
    )
    started.append(leader := subprocess.Popen([sys.executable, "-c", script], start_new_session=True))
    wait_until(lambda: pid_file.exists() and pid_file.read_text().endswith(" "))
    escaped = int(pid_file.read_text())
    tree = Tree(f"{RUN}-6", leader.pid)

    assert {leader.pid, escaped} == {member.pid for member in tree.alive()}
    leader.kill()
    leader.wait()
    assert [escaped] == [member.pid for member in tree.alive()]
    assert tree.kill() == 0
    assert not alive(escaped)


def test_a_zombie_is_no_survivor(started: list[subprocess.Popen[bytes]]) -> None:
    """
    It is its parent's to reap, and runs no more.
    """
    started.append(process := subprocess.Popen(["/bin/true"], env=environ(f"{RUN}-7")))
    wait_until(lambda: not alive(process.pid))

    assert Tree(f"{RUN}-7", process.pid).alive() == []


def test_a_job_of_a_shell_is_found_by_the_session(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    """
    It has a process group of its own, an empty environment, and its parent ended before anybody looked.
    """
    pid_file = tmp_path / "pid"
    script = textwrap.dedent(
        f"""
        import subprocess
        child = subprocess.Popen({SLEEP!r}, env={{}}, process_group=0)
        open({str(pid_file)!r}, "w").write(f"{{child.pid}} ")
        child.returncode = 0  # no warning that it is left running
        """
    )
    started.append(leader := subprocess.Popen([sys.executable, "-c", script], start_new_session=True))
    wait_until(lambda: not alive(leader.pid))
    job = int(pid_file.read_text())

    assert Tree(f"{RUN}-8", leader.pid).kill() == 0
    assert not alive(job)
