"""
`conductor-loop reload`: a changed configuration for a running agent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from conductor_loop.cli.admin import connect
from conductor_loop.cli.options import deed_output_option, dry_run_option
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import plain, print_json
from conductor_loop.errors import ConfigError


@click.command()
@dry_run_option
@deed_output_option("dry_run", "changed", "needs_restart", "warnings", "config_hash")
@click.pass_obj
def reload(session: Session, *, dry_run: bool, output: str) -> int:
    """
    Have the running agent read its configuration again.

    Nothing that runs is interrupted. If anything in the configuration is wrong, all of it is refused, with 78, and
    the agent goes on with the old one.
    """
    with connect(session, needed="it reads its configuration when it starts") as admin:
        try:
            answer = admin.post("/api/v1/reload", dry_run=dry_run)
        except ConfigError as error:
            raise ConfigError(str(error), "the agent goes on with the configuration that it has") from error
    if output == "json":
        print_json({"dry_run": dry_run, **answer})
    else:
        click.echo("\n".join(map(plain, _words(answer, dry_run=dry_run))))
        for warning in answer["warnings"]:
            click.echo(plain(f"warning: {warning}"), err=True)
    return 0


def _words(answer: dict[str, Any], *, dry_run: bool) -> Iterator[str]:
    would = "would change" if dry_run else "changed"
    for key, values in answer["changed"].items():
        yield f"{would}: {key} from {json.dumps(values['from'])} to {json.dumps(values['to'])}"
    for key, values in answer["needs_restart"].items():
        yield f"needs a restart: {key} from {json.dumps(values['from'])} to {json.dumps(values['to'])}"
    if not answer["changed"] and not answer["needs_restart"]:
        yield "nothing has changed"
