"""
How things look: colours where they are wanted, aligned columns, JSON.
"""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from conductor_loop import clock, config
from conductor_loop.cli.fields import FIELD, pick
from conductor_loop.cli.streams import tell
from conductor_loop.model import Filed, Outcome, display_name

COLOURS = {
    Outcome.PROCESSED: "green",
    Outcome.FAILED: "red",
    Outcome.REJECTED: "yellow",
    Outcome.VANISHED: "bright_black",
}


def wants_colour() -> bool:
    """
    Tell whether stdout is a terminal whose user did not ask for plain text (https://no-color.org).
    """
    environ = config.environ()
    return sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def file_printer() -> Callable[[Sequence[Filed]], None]:
    """
    Return what prints one line per file; where nobody reads them any more they are dropped.
    """
    colour = wants_colour()

    def show(files: Sequence[Filed]) -> None:
        tell(["\n".join(file_line(filed, colour=colour) for filed in files)], colour=colour)

    return show


def file_line(filed: Filed, *, colour: bool) -> str:
    """
    Return what happened to a file: time, outcome, name, why, and the seconds of its last run.
    """
    outcome = f"{filed.outcome:<9}"
    words = [
        clock.rfc3339(filed.finished_at),
        click.style(outcome, fg=COLOURS[filed.outcome]) if colour else outcome,
        display_name(filed.name),
        display_name(f"{filed.kind}: {filed.message}") if filed.kind else "",
        f"(filed as {display_name(filed.filed_as)})" if filed.filed_as not in ("", filed.name) else "",
        "" if filed.duration is None else f"{filed.duration:.3f}s",
    ]
    return " ".join(word for word in words if word)


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
    widths = [max(map(_cells, column)) for column in zip(*lines, strict=True)]
    return "\n".join(cut(_padded(line, widths), width) for line in lines)


def terminal_width() -> int | None:
    """
    Return how many characters a line of stdout has; None if it is no terminal, where nothing is ever cut.
    """
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def plain(text: str) -> str:
    """
    Return a text of one line that does nothing to a terminal.
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _padded(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell + " " * (width - _cells(cell)) for cell, width in zip(line, widths, strict=True))
    return "  ".join(cells).rstrip()


def cut(line: str, width: int | None) -> str:
    """
    Return a line that is no wider than `width`; None is as wide as it likes.
    """
    if width is None or _cells(line) <= width:
        return line
    line = line[:width]
    while _cells(line) >= width:
        line = line[:-1]
    return f"{line}…"


def _cells(text: str) -> int:
    """
    Return how many columns of a terminal a text takes.
    """
    if text.isascii():
        return len(text)
    return sum(
        _WIDE.get(unicodedata.east_asian_width(char), 1) for char in text if not unicodedata.combining(char)
    )


_WIDE = {"W": 2, "F": 2}


def print_json(document: dict[str, Any]) -> None:
    """
    Print a document, marked with the version of its shape, or the one value of it that `--field` asks for.
    """
    document = {"version": 1, **document}
    field = click.get_current_context().meta.get(FIELD)
    click.echo(pick(document, field) if field else json.dumps(document, indent=2))
