"""
An agent whose output nobody takes: files go on.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents import PROGRAM, agent
from waiting import wait_until


def redirected(how: str) -> tuple[str, ...]:
    """
    Return the program as a shell starts it with these redirections.
    """
    return ("/bin/sh", "-c", f'exec "$@" {how}', "sh", *PROGRAM)


@pytest.mark.parametrize(
    "how",
    [
        ">&-",
        "2>&-",
        "<&- >&- 2>&-",
        ">/dev/full",
        "2>/dev/full",
        ">/dev/full 2>/dev/full",
    ],
)
def test_files_go_on_without_anybody_to_tell(tmp_path: Path, how: str) -> None:
    """
    Closed streams and full ones; a warning, the welcome and the lines about files are lost and nothing else.
    """
    with agent(tmp_path, {"agent": {"name": "deaf", "max_wrokers": 1}}) as one:
        for number in range(3):
            one.drop(f"intent-{number}.json")
        one.drop("intent-bad.json", b"{")

        assert one.once(program=redirected(how)) == 1
        one.filed(4)


def test_numbers_of_closed_streams_go_to_nobody_else(tmp_path: Path) -> None:
    """
    A database as number 2 would be written into by whatever complains there.
    """
    with agent(tmp_path) as one:
        one.start(program=redirected("<&- >&- 2>&-"))
        assert one.process
        streams = [os.readlink(f"/proc/{one.process.pid}/fd/{number}") for number in range(3)]
        assert one.stop() == 0

    assert streams == ["/dev/null"] * 3


def test_an_agent_that_is_refused_does_not_welcome(tmp_path: Path) -> None:
    """
    Where to drop files is said by the one that takes them, once it does.
    """
    with agent(tmp_path) as one:
        one.start()
        wait_until(lambda: "drop files into" in one.log_text())
        first, one.process = one.process, None
        said = one.log.stat().st_size

        assert one.once() == 78
        assert "drop files into" not in one.log_text()[said:]
        assert f"process {first.pid}" in one.log_text()[said:]

        one.process = first
        assert one.stop() == 0
