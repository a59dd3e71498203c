"""
How values that no database takes as they are become ones that every database takes, and back.
"""

from __future__ import annotations

import os

from conductor_loop.model import display_name

_TWO_63 = 1 << 63
_TWO_64 = 1 << 64


def to_signed(value: int) -> int:
    """
    Return an unsigned 64-bit number (an inode, a device) as the signed one with the same bits.
    """
    return value - _TWO_64 if value >= _TWO_63 else value


def to_unsigned(value: int) -> int:
    """
    Undo `to_signed`.
    """
    return value + _TWO_64 if value < 0 else value


def split_name(name: str | None) -> tuple[str | None, bytes | None]:
    """
    Return a file name as the text to show and, only where that is not the name itself, its raw bytes.

    Args:
        name: as os.fsdecode gives it.
    """
    if name is None or name.isprintable():  # what display_name would return unchanged
        return name, None
    return display_name(name), os.fsencode(name)


def join_name(display: str | None, raw: bytes | None) -> str | None:
    """
    Undo `split_name`.
    """
    return display if raw is None else os.fsdecode(raw)


def clean_text(text: str | None) -> str | None:
    """
    Return `text` with what a database refuses escaped: lone surrogates, NUL (PostgreSQL).
    """
    if text is None or text.isprintable():
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
