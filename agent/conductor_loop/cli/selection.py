"""
Which files are meant: the options by which they are chosen, and the search for them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import click

from conductor_loop.cli.admin import Admin
from conductor_loop.cli.options import moment_option
from conductor_loop.model import Kind, display_name

FILES = "/api/v1/files"
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Selection:
    """
    What the options say; without any of them every file is meant.
    """

    outcomes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    name: str | None = None
    since: str | None = None
    until: str | None = None

    def search(self, admin: Admin, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """
        Yield the files, newest first.

        Args:
            limit: how many at most; None for all.
        """
        return islice(self._pages(admin, min(limit or _PAGE, _PAGE)), limit)

    def _pages(self, admin: Admin, size: int) -> Iterator[dict[str, Any]]:
        before = None
        while True:
            page = admin.get(FILES, **self._query(), limit=size, before=before)
            yield from page["files"]
            before = page["next"]
            if before is None:
                return

    def _query(self) -> dict[str, str | None]:
        return {
            "outcome": ",".join(self.outcomes) or None,
            "kind": ",".join(self.kinds) or None,
            "name": None if self.name is None else display_name(self.name),
            "since": self.since,
            "until": self.until,
        }


def selection_options(*outcomes: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """
    Add the options that choose files; the command gets a `selection`.

    Args:
        outcomes: that can be chosen, each by an option of its name.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def choose(*arguments: Any, **options: Any) -> Any:
            selection = Selection(
                outcomes=tuple(outcome for outcome in outcomes if options.pop(outcome)),
                kinds=options.pop("kind"),
                **{name: options.pop(name) for name in ("name", "since", "until")},
            )
            _check_order(selection)
            return command(*arguments, selection=selection, **options)

        return _add_options(choose, outcomes)

    return decorate


def _add_options(command: Callable[..., Any], outcomes: Sequence[str]) -> Callable[..., Any]:
    options = [
        *(click.option(f"--{outcome}", is_flag=True, help=_HELP[outcome]) for outcome in outcomes),
        click.option(
            "--kind",
            type=click.Choice([str(kind) for kind in Kind]),
            multiple=True,
            metavar="KIND",
            help="Only those that ended for this reason, such as timeout; may be given several times.",
        ),
        click.option(
            "--name", metavar="PATTERN", help="Only these names, with * and ?; in quotes: 'intent-a*.json'."
        ),
        moment_option(
            "--since",
            "Only those that ended then or later: 30m, 1h or 7d ago, 2026-11-23, or 2026-11-23T07:43:18Z; in UTC.",
        ),
        moment_option("--until", "Only those that ended before; written as for --since."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


_HELP = {
    "failed": "Files that failed.",
    "rejected": "Files that were not acceptable and never ran.",
    "processed": "Files that were processed.",
    "open": "Files that have not ended yet; their time is that of the claim.",
}


def _check_order(selection: Selection) -> None:
    if selection.since and selection.until and selection.since > selection.until:
        raise click.UsageError(f"--since ({selection.since}) is after --until ({selection.until})")
