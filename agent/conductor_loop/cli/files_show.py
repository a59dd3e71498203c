"""
`conductor-loop files show`: everything about one file.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from typing import Any

import click

from conductor_loop.cli.admin import Admin, connect
from conductor_loop.cli.files_table import state_words
from conductor_loop.cli.options import output_option
from conductor_loop.cli.selection import FILES, Selection
from conductor_loop.cli.session import Session
from conductor_loop.cli.suggestions import newest_files
from conductor_loop.cli.terminal import columns, plain, print_json
from conductor_loop.errors import NotFoundError

_AND_MORE = re.compile(r"; and \d+ more$")  #: ends a message that does not name every problem
ID = re.compile(r"([A-Za-z0-9]+-)?[0-9]+", re.ASCII)


@click.command("show")
@click.argument("file", metavar="ID|NAME", shell_complete=newest_files(names=True))
@output_option
@click.pass_obj
def files_show(session: Session, *, file: str, output: str) -> int:
    """
    Show everything about one file: every run with its output.

    ID is that of `files list`, its number alone is enough. Of a NAME it is the newest file that was dropped under it.
    """
    with connect(session) as admin:
        found = _find(admin, file)
        newer = admin.get(f"{FILES}/{found['retried_as']}") if found["retried_as"] else None
    if output == "json":
        print_json(found)
    else:
        click.echo("\n".join(_story(found, newer)))
    return 0


def _find(admin: Admin, wanted: str) -> dict[str, Any]:
    if ID.fullmatch(wanted):
        try:
            return admin.get(f"{FILES}/{wanted}")
        except NotFoundError as error:
            found = _by_name(admin, wanted)
            if found is None:
                raise error from None
    else:
        found = _by_name(admin, os.path.basename(wanted))
    if found is None:
        raise NotFoundError(
            f"no file is known by the name {plain(wanted)!r}; `conductor-loop files list` shows names and ids"
        )
    return admin.get(f"{FILES}/{found['id']}")


def _by_name(admin: Admin, name: str) -> dict[str, Any] | None:
    same, others = Selection(name=_literally(name)).newest(admin, 1)
    if others is not None:
        click.echo(
            "this is the newest file of this name; the others: "
            f"conductor-loop files list --name '{plain(_literally(name))}'",
            err=True,
        )
    return same[0] if same else None


def _literally(name: str) -> str:
    """
    Return the pattern that only this name matches.
    """
    return re.sub(r"([*?[])", r"[\1]", name)


def _story(file: dict[str, Any], newer: dict[str, Any] | None) -> Iterator[str]:
    yield columns((name, plain(str(value))) for name, value in _facts(file, newer) if value not in (None, ""))
    for run in sorted((*file["interrupted_runs"], *file["runs"]), key=_started_at):
        yield ""
        yield from _run(run) if "attempt" in run else _cut_off(run)


def _facts(file: dict[str, Any], newer: dict[str, Any] | None) -> Iterator[tuple[str, object]]:
    yield "id", file["id"]
    yield "name", file["name"]
    yield "outcome", file["outcome"] or f"none yet, {_state(file)}"
    yield "why", _why(file)
    yield "last failure", _reason(file["last_failure"]) if file["last_failure"] else None
    yield "filed as", file["filed_as"] if file["filed_as"] != file["name"] else None
    yield "is now", _place(file, newer)
    yield "status file", file["status_path"]
    yield "error log", file["error_log"]
    yield "retry of", file["retry_of"]
    yield "found by", file["found_by"]
    yield "discovered", file["discovered_at"]
    yield "claimed", file["claimed_at"]
    yield "finished", file["finished_at"]
    yield "attempts", file["attempts"]
    yield "interruptions", file["interruptions"] or None
    yield "exit code", file["exit_code"]
    yield "seconds", file["duration_seconds"]
    yield "waited", file["wait_seconds"]
    yield "bytes", file["size_bytes"]
    yield "sha256", file["sha256"]


def _state(file: dict[str, Any]) -> str:
    return f"{file['state']} {state_words(file)}".rstrip()


def _reason(of: dict[str, Any]) -> str:
    return f"{of['kind']}: {of['message']}" if of["kind"] else of["message"] or ""


def _why(file: dict[str, Any]) -> str:
    """
    Return why a file ended so; where the message has only the first of several reasons, with what shows all of them.
    """
    from conductor_loop.model import Outcome  # noqa: PLC0415 - dear, and `--help` does not need it

    words = _reason(file)
    if file["outcome"] == Outcome.REJECTED and file["path"] and _AND_MORE.search(words):
        words += f" (`conductor-loop files explain {shlex.quote(file['path'])}` shows all)"
    return words


def _place(file: dict[str, Any], newer: dict[str, Any] | None) -> str:
    if newer is None:
        return file["path"] or "not there any more"
    return f"retried as {newer['id']} ({newer['outcome'] or _state(newer)})"


def _started_at(run: dict[str, Any]) -> str:
    moment: str = run["started_at"]
    return moment


def _cut_off(run: dict[str, Any]) -> Iterator[str]:
    from conductor_loop.model import Cause  # noqa: PLC0415 - as above

    found = (
        f"found at the start of {run['found_at']}" if run["cause"] == Cause.DEATH else f"at {run['found_at']}"
    )
    yield f"run cut off  started {run['started_at']}  by the agent's {run['cause']}, {found}"


def _run(run: dict[str, Any]) -> Iterator[str]:
    yield plain("  ".join(_ending(run)))
    yield from (f"  | {line}" for line in _harmless(run["output"]))
    if run["output_cut"]:
        yield f"  ({run['output_bytes']} bytes of output; this is its beginning and its end)"
    elif not run["output"]:
        yield "  (no output)"


def _ending(run: dict[str, Any]) -> Iterator[str]:
    yield f"run {run['attempt']}"
    yield f"started {run['started_at']}"
    yield f"{run['duration_seconds']:.3f}s"
    if run["signal"]:
        yield f"signal {run['signal']}"
    elif run["exit_code"] is not None:
        yield f"exit code {run['exit_code']}"
    if run["kind"]:
        yield f"{run['kind']}: {run['message']}"
    if run["survivors"]:
        yield f"{run['survivors']} of its processes could not be ended"


def _harmless(output: str) -> list[str]:
    """
    Return the lines of an output without anything that a terminal would obey.
    """
    lines = output.replace("\r\n", "\n").removesuffix("\n").split("\n") if output else []
    return [plain(line.expandtabs()) for line in lines]
