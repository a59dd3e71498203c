"""
The standard streams: missing, full or of a poor encoding, they end nothing.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import click


def open_missing_streams() -> None:
    """
    Send what goes to a standard stream that our parent has closed to nowhere.

    The numbers 0 to 2 are taken too: else the database would get one, and whatever is written there by mistake.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _LAST_STREAM:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


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


def is_of_output(error: OSError) -> bool:
    """
    Tell whether an error came of printing, and not of what was to be printed.
    """
    # Writing is a matter of the interpreter itself, so that the innermost frame is the one that asked for it. A look at
    # the stream would tell less: of what did not fit into its buffer it keeps nothing that could be tried again.
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    return innermost is not None and innermost.tb_frame.f_code is click.echo.__code__


def tell(lines: Sequence[str], *, err: bool = False, colour: bool | None = None) -> None:
    """
    Print lines if anybody takes them: an agent works on without (`run | head`, a full disk behind stdout).
    """
    with suppress(OSError):
        for line in lines:
            click.echo(line, err=err, color=colour)
