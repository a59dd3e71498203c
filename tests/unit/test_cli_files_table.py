"""
Files as lines of terminals of every width.
"""

from __future__ import annotations

from typing import Any

import pytest

from conductor_loop import clock
from conductor_loop.cli.files_table import file_lines
from conductor_loop.cli.terminal import width_of
from fake_admin import FakeAgent

MESSAGE = "make-package exited with code 3: /srv/clusters.txt: no such file"


def files(**facts: Any) -> list[dict[str, Any]]:
    agent = FakeAgent()
    today = clock.rfc3339(clock.now_us())[:10]
    agent.add("intent-south.json", "failed", message=MESSAGE, finished_at="2001-11-23T07:01:00Z")
    agent.add("intent-b.json", "processed", finished_at=f"{today}T07:02:03Z", **facts)
    for number, file in enumerate(agent.files, 7):
        file["id"] = f"f7c49ec84d-{number}"
    return agent.files


def heads(width: int | None, **facts: Any) -> list[str]:
    return file_lines(files(**facts), width=width)[0].split()


def test_everything_is_there_where_there_is_room() -> None:
    """Uncut where there is no terminal."""
    everything = ["ID", "NAME", "OUTCOME", "KIND", "FINISHED", "ATTEMPTS", "SECONDS", "MESSAGE"]

    assert heads(None) == heads(200) == everything
    assert heads(200, retried_as="f7c49ec84d-9") == [*everything[:-1], "RETRIED", "MESSAGE"]
    assert file_lines(files(), width=None)[1].endswith(MESSAGE)


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(120, set()), (115, {"SECONDS"}), (106, {"SECONDS", "ATTEMPTS"}), (80, {"SECONDS", "ATTEMPTS"})],
)
def test_numbers_are_left_out_first(width: int, left_out: set[str]) -> None:
    """One after the other, as soon as less than 16 columns are left for messages."""
    assert set(heads(200)) - set(heads(width)) == left_out


def test_normal_terminal_shows_names_and_messages() -> None:
    """Times and ids are shortened to what tells them apart there."""
    heads, first, second = file_lines(files(retried_as="f7c49ec84d-9"), width=80)

    assert heads.split() == ["ID", "NAME", "OUTCOME", "KIND", "FINISHED", "RETRIED", "MESSAGE"]
    assert first.split()[:6] == ["7", "intent-south.json", "failed", "command_failed", "11-23", "make-packa…"]
    assert second.split() == ["8", "intent-b.json", "processed", "-", "07:02:03", "->", "9"]


def test_narrow_terminal_shows_names_whole() -> None:
    """Messages go before names do."""
    lines = file_lines(files(), width=60)

    assert lines[0].split() == ["ID", "NAME", "OUTCOME", "KIND", "FINISHED"]
    assert "intent-south.json" in lines[1]
    assert "intent-sou…" in file_lines(files(), width=52)[1]


@pytest.mark.parametrize("width", range(1, 130))
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Whatever the names are made of."""
    wide = files()
    wide[1]["name"] = "intent-ü-大きなファイル.json"

    assert max(map(width_of, file_lines(wide, width=width))) <= width


def test_line_after_line_belongs_to_a_file() -> None:
    """Also if a message has lines."""
    assert len(file_lines(files(message="one\ntwo"), width=None)) == 3
