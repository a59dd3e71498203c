"""
How things look: colours where they are wanted, two aligned columns, JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import click

from conductor_loop import clock, config
from conductor_loop.model import Filed, Outcome, display_name

COLOURS = {
    Outcome.PROCESSED: "green",
    Outcome.FAILED: "red",
    Outcome.REJECTED: "yellow",
    Outcome.VANISHED: "bright_black",
}

output_option: Callable[[Any], Any] = click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", help="Form of the answer."
)


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
        # `run | head`: when the reader is gone, the files still want their work.
        with suppress(OSError):
            click.echo("\n".join(file_line(filed, colour=colour) for filed in files), color=colour)

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


def print_json(document: dict[str, Any]) -> None:
    """
    Print a document, marked with the version of its shape.
    """
    click.echo(json.dumps({"version": 1, **document}, indent=2))
