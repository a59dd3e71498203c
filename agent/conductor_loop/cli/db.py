"""
`conductor-loop db`: the database that remembers.
"""

from __future__ import annotations

import os
from contextlib import closing

import click

from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import columns, output_option, print_json


@click.group()
def db() -> None:
    """
    Look after the database.
    """


@db.command()
@output_option
@click.pass_obj
def current(session: Session, *, output: str) -> int:
    """
    Show which schema the database has. Exits 74 if there is none.
    """
    from conductor_loop.store.schema import schema  # noqa: PLC0415 - brings SQLAlchemy, which `--help` does not need

    found = schema(session.load().config.agent.state_dir)
    facts = {
        "path": str(found.path),
        "store_id": found.store_id,
        "revision": found.revision,
        "head": found.head,
        "upgrade_needed": found.behind,
        "schema_version": found.schema_version,
        "min_compatible_version": found.min_compatible_version,
        "sqlite_version": found.sqlite_version,
    }
    if output == "json":
        print_json(facts)
    else:
        facts["upgrade_needed"] = "yes: `conductor-loop db upgrade`" if found.behind else "no"
        click.echo(columns(facts.items()))
    return 0


@db.command()
@output_option
@click.pass_obj
def upgrade(session: Session, *, output: str) -> int:
    """
    Bring the database to the schema of this version, after a copy of it was made.

    The agent does this by itself when it starts; while it runs this command is refused.
    """
    # They bring SQLAlchemy, which `--help` does not need.
    from conductor_loop.ledger.locks import DirectoryLock  # noqa: PLC0415
    from conductor_loop.store.schema import schema  # noqa: PLC0415
    from conductor_loop.store.upgrade import upgrade as upgrade_store  # noqa: PLC0415

    state_dir = session.load().config.agent.state_dir
    schema(state_dir)  # says so if there is none, before a lock is put there
    with closing(DirectoryLock(state_dir, f"`conductor-loop db upgrade`, process {os.getpid()}")):
        done = upgrade_store(state_dir)
    facts = {
        "from": done.from_revision,
        "to": done.to_revision,
        "backup": str(done.backup) if done.backup else None,
    }
    if output == "json":
        print_json(facts)
    elif done.backup:
        click.echo(
            f"upgraded from {done.from_revision} to {done.to_revision}; "
            f"the old database is kept as {done.backup}"
        )
    else:
        click.echo(f"nothing to do: the database is at {done.to_revision}")
    return 0
