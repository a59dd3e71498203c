"""
`conductor-loop db`: the database that remembers.
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from conductor_loop.cli.options import deed_output_option, dry_run_option, output_option
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import columns, plain, print_json
from conductor_loop.errors import CorruptStoreError


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
@dry_run_option
@deed_output_option("dry_run", "from", "to", "backup", "backup_bytes")
@click.pass_obj
def upgrade(session: Session, *, dry_run: bool, output: str) -> int:
    """
    Bring the database to the schema of this version, after a copy of it was made.

    The agent does this by itself when it starts; while it runs this command is refused.
    """
    # They bring SQLAlchemy, which `--help` does not need.
    from conductor_loop.ledger import locks  # noqa: PLC0415
    from conductor_loop.model import display_name  # noqa: PLC0415
    from conductor_loop.store import upgrade as store  # noqa: PLC0415

    state_dir = session.load().config.agent.state_dir
    done = store.plan_upgrade(state_dir)  # says so if it cannot be, before a lock is put there
    if dry_run:
        locks.await_free(state_dir, locks.PATIENCE_SECONDS)
    else:
        with closing(locks.lock_for_command(state_dir)):
            done = store.upgrade(state_dir)
    facts = {
        "dry_run": dry_run,
        "from": done.from_revision,
        "to": done.to_revision,
        "backup": display_name(str(done.backup)) if done.backup else None,
        "backup_bytes": done.backup_bytes,
    }
    if output == "json":
        print_json(facts)
    elif done.backup:
        click.echo(_upgrade_words(facts))
    else:
        click.echo(f"nothing to do: the database is at {done.to_revision}")
    return 0


def _upgrade_words(facts: dict[str, Any]) -> str:
    way = f"from {facts['from']} to {facts['to']}"
    copy = f"{facts['backup']} ({_mebibytes(facts['backup_bytes'])})"
    if facts["dry_run"]:
        return f"would upgrade {way}, after a copy of the database to {copy}"
    return f"upgraded {way}; the old database is kept as {copy}"


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
    # They bring SQLAlchemy, which `--help` does not need.
    from conductor_loop.model import display_name  # noqa: PLC0415
    from conductor_loop.store import inspection  # noqa: PLC0415
    from conductor_loop.store.schema import database  # noqa: PLC0415

    path = database(session.load().config.agent.state_dir)
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
    "put a copy from `conductor-loop db backup` back (docs/howto/operate.md)"
)


@db.command()
@click.argument("file", type=click.Path(path_type=Path, readable=False), required=False)
@dry_run_option
@deed_output_option("dry_run", "target", "size_bytes", "needed_bytes", "free_bytes")
@click.pass_obj
def backup(session: Session, *, file: Path | None, dry_run: bool, output: str) -> int:
    """
    Copy the database, also while the agent runs.

    The copy is complete, checked for damage and on the disk when this ends. Without FILE it goes into the folder
    backups of state_dir, named after schema and time. Nothing is overwritten: exits 1 if FILE is there already.
    """
    # They bring SQLAlchemy, which `--help` does not need.
    from conductor_loop.model import display_name  # noqa: PLC0415
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
