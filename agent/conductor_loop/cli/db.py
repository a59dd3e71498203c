"""
`conductor-loop db`: the database that remembers.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

import click

from conductor_loop.cli.options import dry_run_option, output_option
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import columns, plain, print_json
from conductor_loop.errors import CorruptStoreError
from conductor_loop.model import display_name


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


@db.command()
@click.option(
    "--full", is_flag=True, help="Compare indexes with tables as well; takes several times as long."
)
@output_option
@click.pass_obj
def check(session: Session, *, full: bool, output: str) -> int:
    """
    Look for damage in the database. Exits 74 if there is any, or no database.

    Changes nothing, and may be used while the agent runs; a long check makes the database's log grow meanwhile.
    """
    from conductor_loop.store import inspection  # noqa: PLC0415 - brings SQLAlchemy, which `--help` does not need

    path = inspection.database(session.load().config.agent.state_dir)
    begun = time.monotonic()
    damages = inspection.damages(path, full=full) or []
    facts = {
        "path": display_name(str(path)),
        "check": "full" if full else "quick",
        "sound": not damages,
        "seconds": round(time.monotonic() - begun, 3),
        "damages": damages,
    }
    if output == "json":
        print_json(facts)
    elif damages:
        click.echo(
            "\n".join([f"{facts['path']}: damaged", *(f"  {plain(line)}" for line in damages), _DAMAGED])
        )
    else:
        click.echo(f"{facts['path']}: no damage found ({facts['check']} check, {facts['seconds']:.1f}s)")
    return CorruptStoreError.exit_code if damages else 0


_DAMAGED = (
    "the agent sets a damaged database aside when it starts and begins a new one; to keep the history, stop it and "
    "put a copy from `conductor-loop db backup` in its place"
)


@db.command()
@click.argument("file", type=click.Path(path_type=Path, readable=False), required=False)
@dry_run_option
@output_option
@click.pass_obj
def backup(session: Session, *, file: Path | None, dry_run: bool, output: str) -> int:
    """
    Copy the database, also while the agent runs.

    The copy is complete, checked for damage and on the disk when this ends. Without FILE it goes into the folder
    backups of state_dir, named after schema and time. Nothing is overwritten: exits 1 if FILE is there already.
    """
    # They bring SQLAlchemy, which `--help` does not need.
    from conductor_loop.store.backup import back_up, plan  # noqa: PLC0415
    from conductor_loop.store.schema import schema  # noqa: PLC0415

    found = schema(session.load().config.agent.state_dir)
    if dry_run:
        planned = plan(found, file)
        facts = planned._asdict() | {"target": display_name(str(planned.target)), "dry_run": True}
        words = (
            f"would copy the database to {facts['target']}: {_mebibytes(planned.needed_bytes)} needed, "
            f"{_mebibytes(planned.free_bytes)} free"
        )
    else:
        made = back_up(found, file)
        size = made.stat().st_size
        facts = {"target": display_name(str(made)), "size_bytes": size, "dry_run": False}
        words = f"{facts['target']}  {_mebibytes(size)}"
    if output == "json":
        print_json(facts)
    else:
        click.echo(words)
    return 0


def _mebibytes(size: int) -> str:
    return f"{size / 1024**2:.1f} MiB"
