"""
`conductor-loop files retry`: run what failed again.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import click

from conductor_loop.cli.admin import Admin, connect
from conductor_loop.cli.files_show import ID
from conductor_loop.cli.options import deed_output_option, dry_run_option, duration_option, limit_option
from conductor_loop.cli.retries import Retries
from conductor_loop.cli.selection import Selection, selection_options
from conductor_loop.cli.session import Session
from conductor_loop.cli.suggestions import newest_files
from conductor_loop.cli.terminal import counted, plain
from conductor_loop.errors import ConductorError, NotFoundError, UsageError

_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)/([smh])", re.ASCII)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}
_LONGEST_INTERVAL = 36_000  # seconds
_NEEDED = "without one nothing would end: start it, or retry without --wait"


def _interval(ctx: click.Context, param: click.Parameter, text: str | None) -> float:
    """
    Return the seconds from one file to the next that a rate stands for.
    """
    if text is None:
        return 0.0
    found = _RATE.fullmatch(text)
    if found is None:
        raise click.BadParameter(f'{text!r} is no rate; write "5/s", "30/m" or "100/h"')
    if float(found[1]) == 0:
        raise click.BadParameter(f'{text!r}: a rate must be above 0, as in "5/s"')
    interval = _UNIT_SECONDS[found[2]] / float(found[1])
    if interval > _LONGEST_INTERVAL:
        raise click.BadParameter(f'{text!r}: too slow; write at least "0.1/h"')
    return interval


@click.command("retry")
@click.argument(
    "ids", nargs=-1, metavar="[ID]...", shell_complete=newest_files(names=False, unresolved="true")
)
@selection_options("failed", "rejected")
@limit_option("At most so many, the oldest.")
@click.option(
    "--rate",
    metavar="RATE",
    callback=_interval,
    help="No faster than this: 5/s, 30/m or 100/h.",
)
@duration_option("--wait", "Wait for their end, for at most this long, such as 30 or 2m.")
@dry_run_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@deed_output_option("dry_run", "retried", "refused", "left", "unknown")
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

    Each becomes a new file with an id of its own, taken from where the failed files are, so its content may be mended
    there before. Name them by ID, or choose them, as in `--failed --since 1h --kind timeout`; then they go oldest
    first, without those that were retried already, and you are asked before.

    While intake is paused retries are refused. While no agent runs they are entered, and run at its next start.

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


class _Choice(NamedTuple):
    """
    What of a file is needed here; a year of failures is a hundred thousand files.
    """

    id: str
    name: str
    kind: str


def _choose(admin: Admin, selection: Selection, limit: int | None, *, ask: bool) -> list[str]:
    """
    Return the ids of the files that can be retried, oldest first, after somebody agreed.
    """
    if not selection.outcomes:
        selection = replace(selection, outcomes=("failed", "rejected"))
    there = [
        _Choice(file["id"], file["name"], file["kind"])
        for file in replace(selection, unresolved=True).search(admin, places=True)
        if file["path"] is not None
    ]
    if not there:
        raise NotFoundError(_why_none(admin, selection))
    wanted = there[::-1][:limit]
    if ask and not _agrees(_question(wanted, len(there))):
        raise ConductorError("nothing was retried")
    return [file.id for file in wanted]


def _why_none(admin: Admin, selection: Selection) -> str:
    tried = [file["retried_as"] is not None for file in replace(selection, unresolved=False).search(admin)]
    if not tried:
        return "no such files; `conductor-loop files list` takes the same options"
    retried, gone = sum(tried), len(tried) - sum(tried)
    parts = (
        f"{retried} {'was' if retried == 1 else 'were'} retried already" if retried else "",
        f"{gone} {'is' if gone == 1 else 'are'} no longer in failed/" if gone else "",
    )
    match = "matches" if len(tried) == 1 else "match"
    return f"{counted(len(tried), 'file')} {match}: {', '.join(part for part in parts if part)}"


def _question(wanted: Sequence[_Choice], of: int) -> str:
    kinds = ", ".join(
        f"{count} {kind}" for kind, count in Counter(file.kind for file in wanted).most_common()
    )
    which = f"the oldest {len(wanted)} of {counted(of, 'file')}" if len(wanted) < of else counted(of, "file")
    oldest = wanted[0].name if len(wanted) == 1 else f"oldest {wanted[0].name}"
    return plain(f"retry {which} ({kinds}; {oldest})?")


def _agrees(question: str) -> bool:
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)  # the question stands on that line
        raise
