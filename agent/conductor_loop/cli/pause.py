"""
`conductor-loop pause`: no new files for now.
"""

from __future__ import annotations

import click

from conductor_loop.cli.admin import connect
from conductor_loop.cli.options import dry_run_option, output_option
from conductor_loop.cli.pauses import standing, told
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import plain, print_json


@click.command()
@click.option("--message", metavar="TEXT", default="", help="Why, for whoever looks at `status`.")
@dry_run_option
@output_option
@click.pass_obj
def pause(session: Session, *, message: str, dry_run: bool, output: str) -> int:
    """
    Take no new files until `resume`.

    Files that were taken already are worked on. The pause outlives restarts; while no agent runs, it is set for the
    next one.
    """
    with connect(session) as admin:
        pauses = standing(admin) if dry_run else admin.post("/api/v1/pause", message=message)["pauses"]
    if output == "json":
        print_json({"dry_run": dry_run, "pauses": pauses})
    elif dry_run:
        click.echo(plain(f"intake would be paused{f': {message}' if message else ''}"))
        click.echo(told(pauses))
    else:
        click.echo(told(pauses))
    return 0
