"""
Tests of the values that no database takes as they are.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor_loop.model import display_name
from conductor_loop.store.encoding import clean_text, join_name, split_name, to_signed, to_unsigned


@given(st.integers(0, 2**64 - 1))
def test_64_bit_number_survives_and_fits_a_signed_column(number: int) -> None:
    """
    Inodes of some file systems use the highest bit.
    """
    signed = to_signed(number)

    assert -(2**63) <= signed < 2**63
    assert to_unsigned(signed) == number


@given(st.binary(min_size=1, max_size=255).filter(lambda raw: b"/" not in raw and b"\0" not in raw))
def test_any_file_name_survives_as_printable_text_and_bytes(raw: bytes) -> None:
    """
    Whatever bytes a file is called, the text column is printable and the name comes back.
    """
    name = os.fsdecode(raw)

    display, kept = split_name(name)

    assert display is not None
    assert display.isprintable()
    assert join_name(display, kept) == name


@pytest.mark.parametrize("name", ["intent-a.json", "intent-ä.json", r"intent-\n.json", "intent a.json"])
def test_ordinary_name_needs_no_bytes(name: str) -> None:
    """
    The bytes are kept only where the text is not the name, which is nearly never.
    """
    assert split_name(name) == (name, None)


@pytest.mark.parametrize("raw", [b"intent-\xff.json", b"intent-\n.json", b"intent-\x1b[2J.json"])
def test_escaped_name_is_the_one_that_people_see_everywhere(raw: bytes) -> None:
    """
    A name that needs escaping is shown as in the log, with its bytes beside it.
    """
    assert split_name(os.fsdecode(raw)) == (display_name(os.fsdecode(raw)), raw)


def test_no_name_stays_no_name() -> None:
    """
    A file that is not filed yet has no target.
    """
    assert split_name(None) == (None, None)
    assert join_name(None, None) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two\nlines, ä", "two\nlines, ä"),
        ("cannot read \udcff.json", "cannot read \\udcff.json"),
        ("a\0b", "a\\x00b"),
        (None, None),
    ],
)
def test_text_that_a_database_refuses_is_escaped(text: str | None, expected: str | None) -> None:
    """
    Messages quote file names and outputs; none of them may make a commit fail.
    """
    assert clean_text(text) == expected
