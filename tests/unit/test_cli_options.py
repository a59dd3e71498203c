"""
What is typed: moments, durations, and which value of a document is wanted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor_loop import clock
from conductor_loop.cli import cli
from conductor_loop.cli.fields import pick
from conductor_loop.cli.lazy import commands_below
from conductor_loop.cli.moments import parse_moment
from conductor_loop.cli.options import MOST_FILES
from fake_admin import Console, FakeAgent, serve


def leaves(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    yield path.strip(), command
    for name, below in commands_below(command).items():
        yield from leaves(below, f"{path} {name}")


NOW = int(datetime(2026, 11, 23, 7, 43, 18, tzinfo=UTC).timestamp()) * clock.SECOND


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1h", "2026-11-23T06:43:18Z"),
        ("30m", "2026-11-23T07:13:18Z"),
        ("7d", "2026-11-16T07:43:18Z"),
        ("0", "2026-11-23T07:43:18Z"),
        ("1h30m", "2026-11-23T06:13:18Z"),
        ("2026-11-23", "2026-11-23T00:00:00Z"),
        ("2026-11-23 07:43", "2026-11-23T07:43:00Z"),
        ("2026-11-23 07:43:18", "2026-11-23T07:43:18Z"),
        ("2026-11-23T07:43:18", "2026-11-23T07:43:18Z"),
        ("2026-11-23T07:43:18Z", "2026-11-23T07:43:18Z"),
        ("2026-11-23t07:43:18z", "2026-11-23T07:43:18Z"),
        ("2026-11-23T09:43:18+02:00", "2026-11-23T07:43:18Z"),
        ("2026-11-22T23:43:18.25-08:00", "2026-11-23T07:43:18.250000Z"),
    ],
)
def test_moments_are_read_in_utc(text: str, meant: str) -> None:
    """Durations count back from now; what has no zone is in UTC already."""
    assert parse_moment(text, now_us=NOW) == meant


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "",
        "1",
        "-1h",
        "1x",
        "2026-13-01",
        "2026-02-30",
        "2026-11-23 25:00",
        "2026-11-23 7:43",
        "23.11.2026",
        "20261123",
        "2026-W48-1",
        "2026-11-23T07:43:18 Z",
        "٢٠٢٦-11-23",
        "9999-12-31T23:59:59-23:00",
        "0001-01-01T00:00:00+23:00",
        "100000y",
    ],
)
def test_what_is_no_time_is_told_with_examples(text: str) -> None:
    """Named as it was typed, with how it would be right."""
    with pytest.raises(ValueError, match=r"is no time: .*such as") as caught:
        parse_moment(text, now_us=NOW)

    assert repr(text) in str(caught.value)
    assert "2026-11-23T07:43:18Z" in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_a_moment_or_told(text: str) -> None:
    """Nothing else can come of it."""
    try:
        moment = parse_moment(text, now_us=NOW)
    except ValueError:
        return
    assert datetime.fromisoformat(moment).tzinfo is not None


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001 - made aware below
def test_moment_of_an_answer_can_be_typed_again(moment: datetime) -> None:
    """What was parsed parses to itself."""
    text = parse_moment(moment.replace(tzinfo=UTC).isoformat(), now_us=NOW)

    assert parse_moment(text, now_us=NOW) == text


DOCUMENT: dict[str, Any] = {
    "version": 1,
    "name": "intent-ü.json",
    "on": True,
    "none": None,
    "config": {"agent.pattern": {"from": "a", "to": ["b"]}, "agent": "x"},
    "files": [{"id": "5f3c-2"}, {"id": "5f3c-1"}],
    "empty": [],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", "1"),
        ("name", "intent-ü.json"),
        ("on", "true"),
        ("none", "null"),
        ("files.1.id", "5f3c-1"),
        ("files.0", '{"id": "5f3c-2"}'),
        ("empty", "[]"),
        ("config.agent", "x"),
        ("config.agent.pattern.to", '["b"]'),
        ("config.agent.pattern.to.0", "b"),
    ],
)
def test_one_value_of_a_document(name: str, value: str) -> None:
    """Strings without quotes, lists and tables as JSON; keys may have dots in them."""
    assert list(pick(DOCUMENT, name)) == [value]


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("nam", "there are version, name, on, none, config, files, empty"),
        ("files.2.id", "this is a list of 2"),
        ("files.-1", "this is a list of 2"),
        ("files.first", "this is a list of 2"),
        ("empty.0", "this is an empty list"),
        ("name.x", "this has no parts"),
        ("config.agent.patter", "this has no parts"),
        ("config.x", "there are agent.pattern, agent"),
    ],
)
def test_unknown_value_names_what_there_is(name: str, there: str) -> None:
    """At the place where the name goes wrong."""
    with pytest.raises(click.BadParameter) as caught:
        list(pick(DOCUMENT, name))

    assert f"{name!r}; {there}" in caught.value.format_message()


def test_field_needs_no_json_option_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is the JSON form that it picks from, whatever else is typed; an unknown one is wrong usage."""
    console, agent = Console(tmp_path, capsys), FakeAgent()
    agent.add("intent-a.json")
    with serve(agent, console.socket):
        assert console.run("files", "list", "--field", "files.0.name") == (0, "intent-a.json\n", "")
        assert console.run("files", "list", "-o", "table", "--field", "version") == (0, "1\n", "")
        wrong = console.run("files", "list", "--field", "files.0.nam")

    assert (wrong.code, wrong.out) == (2, "")
    assert "there are id, name, outcome" in wrong.err


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--since", "soon"),
        ("--until", "2026-13-01"),
        ("--limit", "0"),
        ("--limit", "x"),
        ("--kind", "tiemout"),
    ],
)
def test_bad_option_of_a_search_is_wrong_usage(
    option: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody is asked with it."""
    said = Console(tmp_path, capsys).run("files", "list", option, text)

    assert (said.code, said.out) == (2, "")
    assert option in said.err


def test_since_after_until_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It could find nothing."""
    said = Console(tmp_path, capsys).run("files", "list", "--since", "2026-11-23", "--until", "2026-11-22")

    assert said.code == 2
    assert (
        "--since begins at 2026-11-23T00:00:00Z, and --until ended before that, at 2026-11-22T00:00:00Z"
        in said.err
    )


#: Options of all commands that take something to count or measure.
MEASURES = [
    pytest.param(command, option, id=f"{path} {option.opts[0]}")
    for path, command in leaves(cli)
    for option in command.params
    if option.metavar in ("TIME", "N", "RATE")
]
NASTY = (
    *(
        "9" * 30,
        "9" * 5000,
        "9" * 62 + "y",
        "-1",
        "-1s",
        "+1",
        "nan",
        "inf",
        "1e400",
        "0x10",
        "1_0",
        " 1",
        "1 s",
        "0",
    ),
    *(
        "0s",
        "9" * 400 + "/s",
        "0." + "0" * 30 + "1/h",
        "0." + "0" * 400 + "1/h",
        "0/s",
        "1/d",
        "٣",
        "٣s",
        "٣/s",
        "²",
        "s",
    ),
    *(
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-23:00",
        "0001-01-01",
        "\x00",
        "1h1h",
        "1" + "0" * 62 + "s",
    ),
)


@pytest.mark.parametrize(("command", "option"), MEASURES)
def test_whatever_is_measured_has_bounds(command: click.Command, option: click.Option) -> None:
    """What is beyond them would overflow somewhere; what is let in is a moment, or can be waited for and counted to."""
    context = click.Context(command)
    for text in NASTY:
        try:
            value = option.process_value(context, text)
        except click.BadParameter:
            continue
        assert isinstance(value, str) or 0 <= value <= threading.TIMEOUT_MAX, text
        assert not isinstance(value, int) or value <= MOST_FILES, text


@pytest.mark.parametrize(("command", "option"), MEASURES)
def test_empty_measure_is_none(command: click.Command, option: click.Option) -> None:
    """A script whose variable is not set must not wait for ever, or retry what is older as well."""
    with pytest.raises(click.BadParameter):
        option.process_value(click.Context(command), "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["health", "--wait", "9" * 30], f"'{'9' * 30}': too long; write \"100y\" at most"),
        (["top", "--interval", "101y"], "'101y': too long; write \"100y\" at most"),
        (["files", "retry", "--failed", "--limit", "9" * 30], "is not in the range 1<=x<=1000000"),
        (["files", "retry", "1", "--rate", "0.09/h"], "'0.09/h': too slow; write at least \"0.1/h\""),
    ],
)
def test_what_is_out_of_bounds_is_told_with_them(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As wrong usage."""
    said = Console(tmp_path, capsys).run(*arguments)

    assert (said.code, said.out) == (2, "")
    assert words in said.err


DEEDS = [
    ["pause"],
    ["resume"],
    ["drain"],
    ["drain", "--stop"],
    ["reload"],
    ["files", "retry", "1"],
    ["db", "upgrade"],
    ["db", "backup"],
]


@pytest.mark.parametrize("deed", DEEDS, ids=" ".join)
@pytest.mark.parametrize("field", ["pausess", "files.0.id", "", "retriedd.0"])
def test_field_that_cannot_be_is_refused_before_anything_is_done(
    deed: list[str], field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 means that nothing was."""
    console, agent = Console(tmp_path, capsys), FakeAgent()
    agent.add("intent-a.json", "failed")
    with serve(agent, console.socket):
        said = console.run(*deed, "--field", field)

    assert (said.code, said.out) == (2, "")
    assert "there are version, " in said.err
    assert agent.asked == []
    assert {path.name for path in console.state.iterdir()} <= {"admin.sock"}


@pytest.mark.parametrize(
    ("deed", "field", "code"),
    [
        (["pause"], "pauses.drain.since", 0),
        (["resume"], "lifted.7", 0),
        (["drain"], "pauses.operator", 0),
        (["reload"], "changed.agent.pattern", 0),
        (["files", "retry", "1"], "retried.1.id", 0),
        (["files", "retry", "2"], "retried.0.id", 1),
        (["files", "retry", "1", "--wait", "0"], "retried.1.id", 6),
    ],
    ids=str,
)
def test_field_that_turns_out_not_to_be_leaves_the_exit_code_of_the_deed(
    deed: list[str], field: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was done; what came of it is all told."""
    console, agent = Console(tmp_path, capsys), FakeAgent()
    agent.retry_ends_as = None
    agent.add("intent-a.json", "failed")
    agent.add("intent-b.json")
    with serve(agent, console.socket):
        said = console.run(*deed, "--field", field)

    assert said.code == code
    assert f"--field: nothing is called {field!r}; " in said.err
    assert "this is the whole answer" in said.err
    assert said.document["version"] == 1


def test_field_of_a_deed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Alone on stdout, as with every other command."""
    console, agent = Console(tmp_path, capsys), FakeAgent()
    with serve(agent, console.socket):
        assert console.run("pause", "--message", "lunch", "--field", "pauses.operator.message") == (
            0,
            "lunch\n",
            "",
        )


def test_nothing_is_printed_where_not_all_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first of two lines would look like the answer."""
    console, agent = Console(tmp_path, capsys), FakeAgent()
    agent.add("intent-a.json", last_failure=None)
    agent.add("intent-b.json", last_failure={"kind": "timeout"})
    with serve(agent, console.socket):
        said = console.run("files", "list", "--field", "files.*.last_failure.kind")

    assert (said.code, said.out) == (2, "")
