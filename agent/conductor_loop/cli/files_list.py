"""
`conductor-loop files list`: which files there were and how they ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from conductor_loop.cli.admin import connect
from conductor_loop.cli.options import output_option
from conductor_loop.cli.selection import Selection, selection_options
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import print_json, table, terminal_width

HEADS = ("ID", "FINISHED", "OUTCOME", "KIND", "ATTEMPTS", "SECONDS", "NAME", "MESSAGE")


@click.command("list")
@selection_options("failed", "rejected", "processed", "open")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=20,
    show_default=True,
    metavar="N",
    help="At most so many.",
)
@output_option
@click.pass_obj
def files_list(session: Session, *, selection: Selection, limit: int, output: str) -> int:
    """
    List files and how they ended, newest first.

    Options of one kind add to each other, those of different kinds narrow the choice: --failed --rejected
    --since 1h lists what failed or was rejected in the last hour. Lines are cut to the width of a terminal,
    and never elsewhere.
    """
    with connect(session) as admin:
        found = list(selection.search(admin, limit))
    if output == "json":
        print_json({"files": found})
    elif found:
        click.echo(table(HEADS, [row(file) for file in found], width=terminal_width()))
    else:
        click.echo("no such files")
    return 0


def row(file: dict[str, Any]) -> Sequence[str]:
    """
    Return a file as the cells of one line.
    """
    seconds = file["duration_seconds"]
    return (
        file["id"],
        file["finished_at"] or "-",
        file["outcome"] or "open",
        file["kind"] or "-",
        str(file["attempts"]),
        "-" if seconds is None else f"{seconds:.3f}",
        file["name"],
        file["message"] or "",
    )
