"""
`conductor-loop pause`: no new files for now.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from conductor_loop.cli.admin import Admin, connect
from conductor_loop.cli.options import deed_output_option, dry_run_option
from conductor_loop.cli.pauses import standing, told
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import plain, print_json


@click.command()
@click.option("--message", metavar="TEXT", default="", help="Why, for whoever looks at `status`.")
@dry_run_option
@deed_output_option("dry_run", "pauses", "before")
@click.pass_obj
def pause(session: Session, *, message: str, dry_run: bool, output: str) -> int:
    """
    Take no new files until `resume`.

    Files that were taken already are worked on. There is one such pause for all administrators: the last message
    counts, and any `resume` ends it. It outlives restarts; while no agent runs, it is set for the next one, if there
    ever was one: the first start makes the database that keeps it.
    """
    with connect(session) as admin:
        answer = _try(admin) if dry_run else admin.post("/api/v1/pause", message=message)
    if output == "json":
        print_json({"dry_run": dry_run, **answer})
        return 0
    if dry_run:
        click.echo(plain(f"intake would be paused{f': {message}' if message else ''}"))
    if not dry_run or answer["pauses"]:
        click.echo(told(answer["pauses"]))
    if answer["before"] is not None:
        click.echo(_taken_over(answer["before"], dry_run=dry_run))
    return 0


def _try(admin: Admin) -> dict[str, Any]:
    pauses = standing(admin)
    return {"pauses": pauses, "before": pauses.get("operator")}


def _taken_over(before: Mapping[str, str], *, dry_run: bool) -> str:
    done = "would be replaced" if dry_run else "was replaced"
    return plain(f"it was paused already, since {before['since']}; its message {done}: {before['message']}")
