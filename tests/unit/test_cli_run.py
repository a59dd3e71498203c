"""
`run`: what is printed, for people and for pipes.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from conductor_loop.cli.progress import file_line, file_printer, welcome
from conductor_loop.cli.terminal import columns, wants_colour
from conductor_loop.config import Agent, Config, Http
from conductor_loop.model import Filed, Kind, Outcome


def filed(name: str = "intent-a.json", **change: object) -> Filed:
    facts: dict[str, object] = {
        "id": "abc-1",
        "name": name,
        "outcome": Outcome.PROCESSED,
        "kind": None,
        "message": "",
        "finished_at": 1_795_419_798_000_000,
        "duration": 0.25,
        "filed_as": name,
    }
    return Filed(**(facts | change))  # type: ignore[arg-type]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_line_of_a_processed_file() -> None:
    """Time, outcome, name and seconds; the message would repeat them."""
    assert (
        file_line(filed(message="Processed in 0.25s"), colour=False)
        == "2026-11-23T07:43:18Z processed intent-a.json 0.250s"
    )


def test_line_of_a_bad_file_says_why() -> None:
    """Kind and message; no seconds where nothing ran; the name it got where its own was taken."""
    bad = filed(
        outcome=Outcome.REJECTED,
        kind=Kind.MISSING_FIELD,
        message="replicas is missing",
        duration=None,
        filed_as="intent-a-abc-1.json",
    )

    assert file_line(bad, colour=False) == (
        "2026-11-23T07:43:18Z rejected  intent-a.json missing_field: replicas is missing "
        "(filed as intent-a-abc-1.json)"
    )


def test_line_stays_one_line_whatever_the_name_and_message() -> None:
    """Control characters and undecodable bytes are escaped."""
    line = file_line(
        filed("intent-\n\x1b[31m\udcff.json", kind=Kind.TIMEOUT, message="two\nlines"), colour=False
    )

    assert line.isprintable()
    assert "intent-\\n\\x1b[31m\\xff.json" in line
    assert "two\\nlines" in line


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_a_colour(outcome: Outcome) -> None:
    """On a terminal only the outcome is coloured."""
    line = file_line(filed(outcome=outcome), colour=True)

    assert f"m{outcome:<9}\x1b[0m intent-a.json" in line


@pytest.mark.parametrize(
    ("kind", "environ", "coloured"),
    [
        (Terminal, {}, True),
        (Terminal, {"NO_COLOR": ""}, True),
        (Terminal, {"NO_COLOR": "1"}, False),
        (Terminal, {"TERM": "dumb"}, False),
        (io.StringIO, {}, False),
    ],
)
def test_colour_is_for_terminals_whose_user_wants_it(
    kind: type[io.StringIO], environ: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR, a dumb terminal and a pipe get plain text."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    stream = kind()
    monkeypatch.setattr(sys, "stdout", stream)

    assert wants_colour() is coloured
    file_printer()([filed(), filed()])
    assert ("\x1b[" in stream.getvalue()) is coloured
    assert stream.getvalue().count("intent-a.json") == 2


def test_reader_that_is_gone_does_not_stop_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run | head`: lines are dropped, files are not."""
    monkeypatch.setattr(sys, "stdout", Closed())

    assert file_printer()([filed(), filed()]) is None  # type: ignore[func-returns-value]


def test_welcome_says_where_to_look() -> None:
    """Directories, URLs, and how to stop."""
    text = welcome(Config(agent=Agent(handoff_dir=Path("/drop"))), once=False)

    assert ["drop", "files", "into", "/drop/", "(intent-*.json)"] in [
        line.split() for line in text.splitlines()
    ]
    assert "http://127.0.0.1:8080/metrics  http://127.0.0.1:8080/metrics/prometheus" in text
    assert "http://127.0.0.1:8080/health" in text
    assert "Ctrl-C" in text


def test_welcome_without_server_and_loop() -> None:
    """It does not promise what is not there."""
    text = welcome(Config(http=Http(metrics_port=0)), once=True)

    assert "http" not in text
    assert "Ctrl-C" not in text


def test_columns_are_aligned_and_never_cut() -> None:
    """However long the value, and without blanks at the end of lines."""
    assert columns([("a", "x" * 300), ("long", 1), ("b", "")]) == f"a     {'x' * 300}\nlong  1\nb"
    assert columns([]) == ""
