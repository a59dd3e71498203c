from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor_loop.work.capture import HeadTail


def captured(limit: int, *chunks: bytes) -> HeadTail:
    capture = HeadTail(limit)
    for chunk in chunks:
        capture.feed(chunk)
    return capture


def test_output_within_the_limit_is_kept_whole() -> None:
    """
    No marker, nothing lost.
    """
    assert captured(10, b"01234", b"56789").value() == b"0123456789"


def test_of_longer_output_the_first_and_the_last_half_are_kept() -> None:
    """
    A line between them says how much is missing.
    """
    capture = captured(10, b"0123456", b"789abcdef")

    assert capture.value() == b"01234\n... 6 bytes left out ...\nbcdef"
    assert capture.total == 16


def test_a_limit_of_zero_counts_only() -> None:
    """
    Keeping nothing is a limit too.
    """
    assert captured(0, b"abc").value() == b"\n... 3 bytes left out ...\n"
    assert captured(0).value() == b""


@pytest.mark.parametrize("chunk", [1, 1000, 100_000])
def test_memory_is_bounded_whatever_comes(chunk: int) -> None:
    """
    What is held is the limit, a second tail and one chunk.
    """
    capture = HeadTail(1000)
    for _ in range(5000):
        capture.feed(b"x" * chunk)
        assert len(capture._head) + len(capture._tail) <= 2000


@settings(deadline=None)
@given(st.integers(0, 20), st.lists(st.binary(max_size=15)))
def test_how_the_stream_is_cut_does_not_matter(limit: int, chunks: list[bytes]) -> None:
    """
    The same bytes give the same capture, and what is kept is what was written.
    """
    whole = b"".join(chunks)

    assert captured(limit, *chunks).value() == captured(limit, whole).value()
    assert captured(limit, *chunks).total == len(whole)
    if len(whole) <= limit:
        assert captured(limit, *chunks).value() == whole
    else:
        head, tail = whole[: limit // 2], whole[len(whole) - (limit - limit // 2) :]
        assert captured(limit, *chunks).value().startswith(head)
        assert captured(limit, *chunks).value().endswith(tail)
