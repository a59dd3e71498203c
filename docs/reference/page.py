# ruff: noqa: INP001 - beside the script that uses it
"""
The forms that the generated pages share.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator

NOTE = "<!-- Made from the code by `make docs`; do not edit. -->"


def head(title: str, text: str) -> Iterator[str]:
    """
    Yield what a page begins with.
    """
    yield from (f"# {title}", "", NOTE, "", *paragraphs(text))


def paragraphs(text: str) -> Iterator[str]:
    """
    Yield an indented text as lines, with an empty one after it.
    """
    yield from (inspect.cleandoc(text), "")


def table(columns: str, rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """
    Yield a table, with an empty line after it.

    Args:
        columns: their headings, with ` | ` between them.
    """
    yield f"| {columns} |"
    yield "|" + "---|" * (columns.count(" | ") + 1)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') or '-' for cell in row)} |"
    yield ""


def block(language: str, text: str) -> Iterator[str]:
    """
    Yield a block of code, with an empty line after it.
    """
    yield from (f"```{language}", text.strip("\n"), "```", "")


def words(values: Iterable[str]) -> str:
    """
    Return values as code with commas.
    """
    return ", ".join(f"`{value}`" for value in values)
