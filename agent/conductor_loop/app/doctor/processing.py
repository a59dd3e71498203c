"""
Checks of what is done with a file: schema, command, handler.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conductor_loop.app.doctor.findings import Check, Subject, failed, ok
from conductor_loop.app.parts import prove
from conductor_loop.config import Config, environ
from conductor_loop.model import display_name

_FIRST_LINE = 256  #: bytes of a script that the kernel reads for its interpreter


def check_processing(subject: Subject) -> Iterator[Check]:
    """
    Look at the schema and at what is run.
    """
    config = subject.config
    with _no_bytecode():
        problems = prove(config)
    for problem in problems:
        name = "schema" if problem.startswith("validation.schema") else "handler"
        yield failed(name, problem, "mend the file that it names, then `conductor-loop check-config`")
    if not any(problem.startswith("validation.schema") for problem in problems):
        yield ok("schema", f"{config.validation.schema} can be used")
    if config.processor.kind == "command":
        yield _check_command(subject)
    elif not any(problem.startswith("processor.handler") for problem in problems):
        yield ok("handler", f"{config.processor.handler} can be imported")


@contextmanager
def _no_bytecode() -> Iterator[None]:
    """
    Import without leaving compiled files behind.
    """
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _check_command(subject: Subject) -> Check:
    program = subject.config.processor.command[0]
    path = _find(subject.config)
    if path is None:
        where = "" if "/" in program else ", not in the PATH of this shell; the service may have another one"
        return failed("command", f"{program}: no such program{where}", "install it, or give its full path")
    if not subject.user.may(path, os.X_OK):
        return failed(
            "command",
            f"{path}: {subject.user.name} may not execute it",
            f"chmod a+rx {display_name(str(path))}",
        )
    interpreter = _interpreter(path)
    if interpreter is not None and not os.access(interpreter, os.X_OK):
        hint = f"install {interpreter}, or change the first line of {display_name(str(path))}"
        return failed(
            "command", f"{path}: its first line names {interpreter}, which cannot be executed", hint
        )
    return ok("command", f"{path}: {subject.user.name} may execute it")


def _find(config: Config) -> Path | None:
    """
    Return the program, executable by us or not.
    """
    program = config.processor.command[0]
    path = environ().get("PATH", os.defpath)
    found = shutil.which(program, path=path) or shutil.which(program, mode=os.F_OK, path=path)
    return None if found is None else Path(found)


def _interpreter(path: Path) -> str | None:
    """
    Return the interpreter that a script names; None for a program, and for a script that we may not read.
    """
    try:
        with path.open("rb") as file:
            line = file.read(_FIRST_LINE).split(b"\n")[0]
    except OSError:
        return None
    words = line[2:].split() if line.startswith(b"#!") else []
    return os.fsdecode(words[0]) if words else None
