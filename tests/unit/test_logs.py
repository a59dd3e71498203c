"""
What a log line looks like.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator

import pytest

from conductor_loop import clock, logs
from conductor_loop.config import LOG_LEVELS


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """
    Leave the log as it was.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_times_are_written_as_in_the_lines_of_files(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    In UTC, whatever the machine's time zone: both go to the same terminal.
    """
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        logs.setup()
        before = clock.now_us()
        logging.getLogger("any").warning("disk %s", "full")
        after = clock.now_us()
    finally:
        monkeypatch.undo()
        time.tzset()

    found = re.fullmatch(r"(\S+) WARNING MainThread: disk full\n", capsys.readouterr().err)
    assert found
    assert clock.rfc3339(before) <= found[1] <= clock.rfc3339(after)


@pytest.mark.parametrize("level", LOG_LEVELS)
def test_a_level_of_the_configuration_shows_itself_and_all_above(
    capsys: pytest.CaptureFixture[str], level: str
) -> None:
    """
    And nothing below.
    """
    logs.setup(level)
    for each in LOG_LEVELS:
        logging.getLogger("any").log(logging.getLevelName(each.upper()), "said")

    shown = [line.split()[1].lower() for line in capsys.readouterr().err.splitlines()]
    assert shown == list(LOG_LEVELS[LOG_LEVELS.index(level) :])


def test_level_can_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    From then on other lines are shown.
    """
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", logging.INFO)
    logs.set_level("error")

    assert root.level == logging.ERROR
