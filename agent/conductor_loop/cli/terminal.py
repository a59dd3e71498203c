"""
How things look: colours where they are wanted, aligned columns, JSON.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import click

from conductor_loop.cli.fields import FIELD, Field, pick
from conductor_loop.cli.streams import tell

#: Of outcomes.
COLOURS = {"processed": "green", "failed": "red", "rejected": "yellow", "vanished": "bright_black"}


def wants_colour() -> bool:
    """
    Tell whether stdout is a terminal whose user did not ask for plain text (https://no-color.org).
    """
    from conductor_loop import config  # noqa: PLC0415 - dear, and help and completion do not need it

    environ = config.environ()
    return sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def columns(rows: Iterable[tuple[str, object]]) -> str:
    """
    Return rows as two aligned columns; the second is never cut.
    """
    pairs = [(name, str(value)) for name, value in rows]
    width = max((len(name) for name, _ in pairs), default=0)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in pairs)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, width: int | None) -> str:
    """
    Return rows as aligned columns below their heads.

    Args:
        width: where lines are cut, the terminal's; None for not at all.
    """
    lines = [list(heads), *([plain(cell) for cell in row] for row in rows)]
    widths = [max(map(width_of, column)) for column in zip(*lines, strict=True)]
    return "\n".join(cut(_padded(line, widths), width) for line in lines)


def width_of(text: str) -> int:
    """
    Return how many columns of a terminal a text takes.
    """
    if text.isascii():
        return len(text)
    return sum(
        _WIDE.get(unicodedata.east_asian_width(char), 1) for char in text if not unicodedata.combining(char)
    )


_WIDE = {"W": 2, "F": 2}


def counted(number: int, noun: str) -> str:
    """
    Return how many there are of something, in words: `1 file`, `2 files`.
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def terminal_width() -> int | None:
    """
    Return how many characters a line of stdout has; None if it is no terminal, where nothing is ever cut.
    """
    if not sys.stdout.isatty():
        return None
    import shutil  # noqa: PLC0415 - as above

    return shutil.get_terminal_size().columns


def plain(text: str) -> str:
    """
    Return a text of one line that does nothing to a terminal.
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _padded(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell + " " * (width - width_of(cell)) for cell, width in zip(line, widths, strict=True))
    return "  ".join(cells).rstrip()


def cut(line: str, width: int | None) -> str:
    """
    Return a line that is no wider than `width`; None is as wide as it likes.
    """
    if width is None or width_of(line) <= width:
        return line
    line = line[:width]
    while width_of(line) >= width:
        line = line[:-1]
    return f"{line}…"


def print_json(document: dict[str, Any]) -> None:
    """
    Print a document, marked with the version of its shape, or the values of it that `--field` asks for.

    After a deed it is too late for wrong usage: where there is no such value, the whole document says what was done.

    Raises:
        click.BadParameter: if there is no such value, and nothing was done.
    """
    document = {"version": 1, **document}
    field: Field | None = click.get_current_context().meta.get(FIELD)
    lines = [json.dumps(document, indent=2)]
    if field is not None:
        try:
            lines = list(pick(document, field.name))
        except click.BadParameter as error:
            if not field.after_deed:
                raise
            tell([f"--field: {error.message}; this is the whole answer"], err=True)
    for line in lines:
        click.echo(line)
