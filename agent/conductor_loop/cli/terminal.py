"""
How things look: colours where they are wanted, two aligned columns, JSON; and what becomes of them on bad streams.
"""

from __future__ import annotations

import io
import json
import os
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


def open_missing_streams() -> None:
    """
    Send what goes to a standard stream that our parent has closed to nowhere.

    The numbers 0 to 2 are taken too: else the database would get one, and whatever is written there by mistake.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _LAST_STREAM:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for number, name in enumerate(("stdout", "stderr"), start=1):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


_LAST_STREAM = 2


def escape_what_streams_lack() -> None:
    """
    Let characters that the terminal's encoding lacks be escaped; a name of a file must not end the agent.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush_streams() -> None:
    """
    Write out what waits; what nobody takes must not turn the exit code into 120, as Python does it.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def tell(lines: Sequence[str], *, err: bool = False, colour: bool | None = None) -> None:
    """
    Print lines if anybody takes them: an agent works on without (`run | head`, a full disk behind stdout).
    """
    with suppress(OSError):
        for line in lines:
            click.echo(line, err=err, color=colour)


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


def print_json(document: dict[str, Any]) -> None:
    """
    Print a document, marked with the version of its shape.
    """
    click.echo(json.dumps({"version": 1, **document}, indent=2))
