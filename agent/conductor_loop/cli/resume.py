"""
`conductor-loop resume`: take files again.
"""

from __future__ import annotations

import click

from conductor_loop.cli.admin import connect
from conductor_loop.cli.options import deed_output_option, dry_run_option
from conductor_loop.cli.pauses import standing, told
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import print_json


@click.command()
@dry_run_option
@deed_output_option("dry_run", "lifted", "pauses")
@click.pass_obj
def resume(session: Session, *, dry_run: bool, output: str) -> int:
    """
    Take files again after `pause` or `drain`.

    Ends both, whoever asked for them. A pause that the agent itself made, for a full disk or a missing command, ends
    when that is mended.
    """
    from conductor_loop.model import ASKED_FOR  # noqa: PLC0415 - dear, and `--help` does not need it

    with connect(session) as admin:
        if dry_run:
            pauses = standing(admin)
            lifted = [str(reason) for reason in ASKED_FOR if reason in pauses]
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
