"""
The lease test against real writers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conductor_loop.ledger.lease import writer_has, writer_has_at

AGENT_ROOT = Path(__file__).parent.parent.parent / "agent"


def ask(path: Path) -> bool | None:
    """
    Ask of a file by its directory.
    """
    dir_fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return writer_has_at(dir_fd, path.name)
    finally:
        os.close(dir_fd)


def test_free_file(tmp_path: Path) -> None:
    """
    A closed file has no writer, and readers do not count.
    """
    path = tmp_path / "x"
    path.write_text("{}")
    with path.open() as reader:
        assert ask(path) is False
        assert writer_has(reader.fileno()) is False
        assert writer_has(reader.fileno()) is False


def test_file_open_for_writing(tmp_path: Path) -> None:
    """
    It is held until the last writer closed it.
    """
    path = tmp_path / "x"
    with path.open("w"):
        assert ask(path) is True
        with path.open() as reader:
            assert writer_has(reader.fileno()) is True

    assert ask(path) is False


def test_lease_is_given_back_at_once(tmp_path: Path) -> None:
    """
    A writer that comes after the question does not wait for us.
    """
    path = tmp_path / "x"
    path.write_text("")
    with path.open() as reader:
        assert writer_has(reader.fileno()) is False
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # would fail with EWOULDBLOCK


def test_gone_file(tmp_path: Path) -> None:
    """
    That it is gone is another answer than that it is free.
    """
    with pytest.raises(FileNotFoundError):
        ask(tmp_path / "x")


def test_symlink_and_fifo_are_not_followed_and_do_not_block(tmp_path: Path) -> None:
    """
    Whatever took the name since it was looked at cannot stop the agent.
    """
    (tmp_path / "target").write_text("")
    (tmp_path / "link").symlink_to("target")
    os.mkfifo(tmp_path / "fifo")

    assert ask(tmp_path / "link") is None
    assert ask(tmp_path / "fifo") in {None, False}


@pytest.mark.root
def test_file_of_another_user_cannot_be_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    """
    The kernel gives leases to owners only; this is not an answer of "free".
    """
    script = (
        "import os, sys\n"
        f"sys.path.insert(0, {str(AGENT_ROOT)!r})\n"
        "from conductor_loop.ledger.lease import writer_has\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(writer_has(0))\n"
    )
    path = tmp_path_factory.mktemp("lease") / "x"
    path.write_text("{}")
    with path.open() as file:
        done = subprocess.run([sys.executable, "-c", script], stdin=file, stdout=subprocess.PIPE, check=True)

    assert done.stdout == b"None\n"


WRITER = """
import mmap, os, sys
count = mmap.mmap(os.open(sys.argv[2], os.O_RDWR), 8)
for turn in range(int(sys.argv[3])):
    fd = os.open(sys.argv[1], os.O_WRONLY)
    count[0:8] = (2 * turn + 1).to_bytes(8, "little")
    os.write(fd, b"x")
    count[0:8] = (2 * turn + 2).to_bytes(8, "little")
    os.close(fd)
"""

ASKER = """
import mmap, os, sys
sys.path.insert(0, sys.argv[4])
from conductor_loop.ledger.lease import writer_has_at
count = mmap.mmap(os.open(sys.argv[2], os.O_RDWR), 8)
folder = os.open(os.path.dirname(sys.argv[1]), os.O_RDONLY)
answers = {True: 0, False: 0, None: 0}
wrong = 0
print("ready", flush=True)
while (before := bytes(count)) != (2 * int(sys.argv[3])).to_bytes(8, "little"):
    answer = writer_has_at(folder, os.path.basename(sys.argv[1]))
    answers[answer] += 1
    held_throughout = before[0] & 1 and bytes(count) == before
    wrong += held_throughout and answer is not True
print(answers[True] > 0, answers[False] > 0, answers[None], wrong)
"""


def test_racing_writer_neither_kills_the_agent_nor_is_overlooked(tmp_path: Path) -> None:
    """
    A writer that breaks our lease raises a signal; without F_SETSIG it would be SIGIO, which kills.
    """
    target, count, turns = tmp_path / "x", tmp_path / "count", "20000"
    target.write_text("")
    count.write_bytes(bytes(8))
    asker = subprocess.Popen(
        [sys.executable, "-c", ASKER, target, count, turns, AGENT_ROOT], stdout=subprocess.PIPE, text=True
    )
    assert asker.stdout is not None
    with asker:
        assert asker.stdout.readline() == "ready\n"
        subprocess.run([sys.executable, "-c", WRITER, target, count, turns], check=True, timeout=60)
        answer = asker.stdout.read()

    assert asker.returncode == 0
    assert answer == "True True 0 0\n"
