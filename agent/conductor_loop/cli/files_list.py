"""
`conductor-loop files list`: which files there were and how they ended.
"""

from __future__ import annotations

import click

from conductor_loop.cli.admin import connect
from conductor_loop.cli.files_table import file_lines
from conductor_loop.cli.options import limit_option, output_option
from conductor_loop.cli.selection import Selection, selection_options
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import print_json, terminal_width


@click.command("list")
@selection_options("failed", "rejected", "processed", "open")
@limit_option("At most so many.", default=20, show_default=True)
@output_option
@click.pass_obj
def files_list(session: Session, *, selection: Selection, limit: int, output: str) -> int:
    """
    List files and how they ended, by id, newest first.

    Options of one kind add to each other, those of different kinds narrow the choice: --failed --rejected
    --since 1h lists what failed or was rejected in the last hour, and with --unresolved what of it still needs
    somebody. On a terminal lines are cut to its width, and on a narrow one columns are left out or shortened: times to
    that of day in UTC, ids to their number.
    """
    with connect(session) as admin:
        found, following = selection.newest(admin, limit)
    if output == "json":
        print_json({"files": found, "next": following})
    elif found:
        click.echo("\n".join(file_lines(found, width=terminal_width())))
    else:
        click.echo("no such files", err=True)
    if following is not None:
        click.echo(f"{len(found)} shown, more match: --limit N", err=True)
    return 0
