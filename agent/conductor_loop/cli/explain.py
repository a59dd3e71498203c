"""
`conductor-loop files explain`: what would happen to a file.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from conductor_loop.cli.admin import connect
from conductor_loop.cli.options import output_option
from conductor_loop.cli.pauses import Pauses, standing
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import columns, plain, print_json
from conductor_loop.errors import PermissionDeniedError, StoreError, UnreachableError


@click.command()
@click.argument("file", type=click.Path(path_type=Path, readable=False))
@output_option
@click.pass_obj
def explain(session: Session, *, file: Path, output: str) -> int:
    """
    Say what would happen to a file, without touching it.

    FILE may lie anywhere: outside the handoff directory it is explained as if it were put there. Names everything
    that is wrong with it, and the command line as it would be now. Exits 0 if it would be run, 1 if it would be
    rejected or ignored, or would have to wait: while intake is paused, or the command cannot be started.
    """
    # They bring most of the agent, which `--help` does not need.
    from conductor_loop.app import explain as app  # noqa: PLC0415
    from conductor_loop.cli import explanation  # noqa: PLC0415

    config = session.load().config
    found = app.explain(config, file, paused=lambda: _find_pauses(session))
    if output == "json":
        print_json(explanation.document(config, found))
    else:
        click.echo(columns((name, plain(str(value))) for name, value in explanation.rows(config, found)))
    return 0 if found.fate is app.Fate.RUN else 1


def _find_pauses(session: Session) -> Pauses:
    """
    Return why intake stands still, as far as this user may know.
    """
    from conductor_loop.cli.agent_client import Agent  # noqa: PLC0415 - as above

    with suppress(UnreachableError, PermissionDeniedError):
        pauses: Pauses = Agent.of(session, None).ask("/health", "components")["details"]["paused"]
        return pauses
    with (
        suppress(StoreError, UnreachableError, PermissionDeniedError, PermissionError),
        connect(session) as admin,
    ):
        return standing(admin)
    return {}
