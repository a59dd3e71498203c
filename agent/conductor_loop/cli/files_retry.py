"""
`conductor-loop files retry`: run what failed again.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import click

from conductor_loop.cli.admin import Admin, connect
from conductor_loop.cli.files_show import ID
from conductor_loop.cli.options import dry_run_option, duration_option, output_option
from conductor_loop.cli.retries import Retries
from conductor_loop.cli.selection import FILES, Selection, selection_options
from conductor_loop.cli.session import Session
from conductor_loop.errors import ConductorError, NotFoundError, UsageError

_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)/([smh])", re.ASCII)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}
_NEEDED = "without one nothing would end: start it, or retry without --wait"


def _interval(ctx: click.Context, param: click.Parameter, text: str | None) -> float:
    """
    Return the seconds from one file to the next that a rate stands for.
    """
    found = _RATE.fullmatch(text) if text else None
    if found and float(found[1]) > 0:
        return _UNIT_SECONDS[found[2]] / float(found[1])
    if text:
        raise click.BadParameter(f'{text!r} is no rate; write "5/s", "30/m" or "100/h"')
    return 0.0


@click.command("retry")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@selection_options("failed", "rejected")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many, the oldest.")
@click.option(
    "--rate",
    metavar="RATE",
    callback=_interval,
    help="No faster than this: 5/s, 30/m or 100/h.",
)
@duration_option("--wait", "Wait for their end, for at most this long, such as 30 or 2m.")
@dry_run_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_option
@click.pass_obj
def files_retry(
    session: Session,
    *,
    ids: Sequence[str],
    selection: Selection,
    limit: int | None,
    rate: float,
    wait: float | None,
    dry_run: bool,
    yes: bool,
    output: str,
) -> int:
    """
    Run failed and rejected files again.

    Each becomes a new file with an id of its own, taken from where the failed files are. Name them by ID, or choose
    them, as in `--failed --since 1h --kind timeout`; then they go oldest first, and you are asked before.

    Exits 1 if any was refused or there was none, with --wait also if any did not end as processed, and 6 if they
    did not end in time.
    """
    ask = not (yes or dry_run)
    _check_usage(ids, selection, limit, ask=ask)
    waits = wait is not None and not dry_run
    with connect(session, needed=_NEEDED if waits else "") as admin:
        wanted = list(ids) or _choose(admin, selection, limit, ask=ask)
        retries = Retries(admin, wanted, dry_run=dry_run, quiet=output == "json")
        try:
            retries.run(rate)
            if wait is not None and waits:
                retries.wait(wait)
        finally:
            retries.show()
    return 0 if retries.all_well else 1


def _check_usage(ids: Sequence[str], selection: Selection, limit: int | None, *, ask: bool) -> None:
    chosen = selection != Selection()
    if ids and (chosen or limit is not None):
        raise click.UsageError("name files by ID, or choose them by options, not both")
    if not ids and not chosen:
        raise click.UsageError("which files? Name them by ID, or choose them: --failed --since 1h")
    for one in ids:
        if not ID.fullmatch(one):
            raise click.UsageError(f"{one!r} is no ID; `conductor-loop files list --failed` shows them")
    if chosen and ask and not sys.stdin.isatty():
        raise UsageError("nobody can be asked here: add --yes, or --dry-run to see which files these are")


def _choose(admin: Admin, selection: Selection, limit: int | None, *, ask: bool) -> list[str]:
    """
    Return the ids of the files that can be retried, oldest first, after somebody agreed.
    """
    if not selection.outcomes:
        selection = replace(selection, outcomes=("failed", "rejected"))
    # Ids alone: a year of failures is a hundred thousand files.
    found = [file["id"] for file in selection.search(admin)]
    wanted = [file["id"] for file in islice(_retriable(admin, reversed(found)), limit)]
    if not wanted:
        raise NotFoundError(
            f"none of these {len(found)} files can be retried: they were already, or are not there any more"
            if found
            else "no such files; `conductor-loop files list` takes the same options"
        )
    if ask and not click.confirm(f"retry {len(wanted)} files?", err=True):
        raise ConductorError("nothing was retried")
    return wanted


def _retriable(admin: Admin, ids: Iterable[str]) -> Iterator[dict[str, Any]]:
    for one in ids:
        file = admin.get(f"{FILES}/{one}")
        if file["retried_as"] is None and file["path"] is not None:
            yield file
