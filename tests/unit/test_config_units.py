"""
Durations and sizes.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor_loop.config.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("30s", 30.0),
        ("5m", 300.0),
        ("2h15m", 8100.0),
        ("2h15m30s250ms", 8130.25),
        ("30d", 2_592_000.0),
        ("12mo", 31_536_000.0),
        ("25mo", 65_700_000.0),
        ("10y", 315_360_000.0),
        ("1y1mo1d1h1m1s1ms", 31_536_000 + 2_628_000 + 86_400 + 3600 + 60 + 1.001),
    ],
)
def test_duration_is_read(text: str, seconds: float) -> None:
    """Every unit, alone and together."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1",
        "1.5",
        "s",
        "-1s",
        "+1s",
        "1 s",
        " 1s",
        "1s ",
        "1s1h",
        "1s1s",
        "1S",
        "1M",
        "1us",
        "1w",
        "1e3s",
        ".5s",
        "1.s",
        "1s\n",
        "\N{ARABIC-INDIC DIGIT ONE}s",
        "1" * 65 + "s",
        "30s, please",
        "soon",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """No guessing: signs, blanks, repeated or unordered units and bare numbers are errors."""
    with pytest.raises(ValueError, match=r".+"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0"),
        (0.5, "500ms"),
        (1.5, "1.5s"),
        (8100.0, "2h15m"),
        (2592000, "30d"),
        (65700000, "25mo"),
        (315360000, "10y"),
        (1e-06, "0.001ms"),
        (90061.25, "1d1h1m1.25s"),
    ],
)
def test_duration_is_shown_as_people_write_it(seconds: float, text: str) -> None:
    """The defaults come back as they are written in the documentation."""
    assert format_duration(seconds) == text


@given(st.floats(min_value=0, max_value=1e9, allow_nan=False).map(lambda seconds: round(seconds, 6)))
def test_duration_round_trips(seconds: float) -> None:
    """What is shown is read back as the same number."""
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.text(max_size=80))
def test_no_text_crashes_the_parsers(text: str) -> None:
    """Any text is a value or a ValueError."""
    for parse in (parse_duration, parse_size):
        try:
            answer = str(parse(text))
        except ValueError as exc:
            answer = str(exc)

        assert answer
        assert not answer.startswith("-")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("1B", 1),
        ("64KiB", 65536),
        ("5MiB", 5242880),
        ("2GiB", 2147483648),
        ("10MB", 10000000),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1.5KiB", 1536),
        ("5 MiB", 5242880),
        ("1TiB", 1 << 40),
    ],
)
def test_size_is_read(text: str, size: int) -> None:
    """Binary and decimal units, and plain bytes."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MiB", "-1", "5M", "5mb", "5 Mi B", "1.5", "1.0001KiB", "1e3", "5MiB\n", "1" * 65]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    """No guessing about letters, signs and parts of bytes."""
    with pytest.raises(ValueError, match=r".+"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=1 << 60))
def test_size_round_trips(size: int) -> None:
    """What is shown is read back as the same number."""
    assert parse_size(format_size(size)) == size
