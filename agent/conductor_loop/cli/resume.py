"""
`conductor-loop resume`: take files again.
"""

from __future__ import annotations

import click

from conductor_loop.cli.admin import connect
from conductor_loop.cli.options import dry_run_option, output_option
from conductor_loop.cli.pauses import standing, told
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import print_json

OURS = ("operator", "drain")  #: reasons that somebody gave; the others end when their cause does


@click.command()
@dry_run_option
@output_option
@click.pass_obj
def resume(session: Session, *, dry_run: bool, output: str) -> int:
    """
    Take files again after `pause` or `drain`.

    A pause that the agent itself made, for a full disk or a missing command, ends when that is mended.
    """
    with connect(session) as admin:
        if dry_run:
            pauses = standing(admin)
            lifted = [reason for reason in pauses or () if reason in OURS]
        else:
            answer = admin.post("/api/v1/resume")
            lifted, pauses = answer["lifted"], answer["pauses"]
    if output == "json":
        print_json({"dry_run": dry_run, "lifted": lifted, "pauses": pauses})
    else:
        ended = ", ".join(lifted) or "nothing, as nobody had paused it"
        click.echo(f"{'would end' if dry_run else 'ended'}: {ended}")
        click.echo(told(pauses))
    return 0
