# ruff: noqa: INP001 - beside the script that uses it
"""
The part of a page that lists the exit codes.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

from page import paragraphs, table

import conductor_loop
from conductor_loop.errors import ConductorError, ForcedStopError


def exit_codes() -> Iterator[str]:
    """
    Yield the lines of the section.
    """
    yield from ("## Exit codes", "", *paragraphs(INTRODUCTION))
    rows = sorted([*WITHOUT_ERROR, *_errors()], key=lambda row: (int(row[0].split(",")[0]), row[1]))
    yield from table("exit code | kind | means", rows)


def _errors() -> Iterator[tuple[str, str, str]]:
    _import_all()
    for error in _below(ConductorError):
        ours = error.__module__.startswith("conductor_loop.")  # a test may have made others
        if ours and error is not ForcedStopError:  # whose code depends on the signal
            yield str(error.exit_code), f"`{error.kind}`", _first_sentence(error)


def _import_all() -> None:
    # A part of the program may have an error of its own, known once it is imported.
    for found in pkgutil.walk_packages(conductor_loop.__path__, "conductor_loop."):
        if not found.name.endswith("__main__"):  # which would run it
            importlib.import_module(found.name)


def _below(error: type[ConductorError]) -> Iterator[type[ConductorError]]:
    for child in error.__subclasses__():
        yield child
        yield from _below(child)


def _first_sentence(error: type[ConductorError]) -> str:
    return " ".join(inspect.cleandoc(error.__doc__ or "").split("\n\n")[0].split())


INTRODUCTION = """
    The same in both forms of output. *Kind* names the reason more closely, in the answers of the admin socket.
"""

WITHOUT_ERROR = (
    ("0", "", "Done; or, where facts are asked for, the answer is there, whatever it says."),
    (
        "1",
        "",
        (
            "Not, or not wholly, done; or the answer could not be written, as onto a full disk. `run --once`: some "
            "files failed, were rejected, or could not be worked on."
        ),
    ),
    (
        "2",
        "",
        "An option, argument or command that does not exist, or a value that is none; nothing was done.",
    ),
    ("4", "", "`health`: unhealthy, or another version than expected."),
    ("70", "", "An internal error of conductor-loop, with its traceback: please report it."),
    ("130, 143, 129", "", "Ended at once by Ctrl-C, SIGTERM, SIGHUP; `run` only by a second one."),
)
