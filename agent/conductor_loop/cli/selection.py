"""
Which files are meant: the options by which they are chosen, and the search for them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click
from click.shell_completion import CompletionItem

from conductor_loop.cli.admin import Admin
from conductor_loop.cli.options import moment_option

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
    unresolved: bool = False

    def search(self, admin: Admin, *, places: bool = False) -> Iterator[dict[str, Any]]:
        """
        Yield all of the files, newest first.

        Args:
            places: each with its `path`.
        """
        before = None
        while True:
            page = self._page(admin, _PAGE, before, places="true" if places else None)
            yield from page["files"]
            before = page["next"]
            if before is None:
                return

    def newest(self, admin: Admin, limit: int) -> tuple[list[dict[str, Any]], str | None]:
        """
        Return the newest of the files and, if there are more than the limit, the id of the last one.
        """
        page = self._page(admin, min(limit, _PAGE), None)
        found: list[dict[str, Any]] = page["files"]
        while page["next"] is not None and len(found) < limit:
            page = self._page(admin, min(limit - len(found), _PAGE), page["next"])
            found += page["files"]
        return found, page["next"]

    def _page(self, admin: Admin, size: int, before: str | None, places: str | None = None) -> dict[str, Any]:
        return admin.get(FILES, **self._query(), places=places, limit=size, before=before)

    def _query(self) -> dict[str, str | None]:
        from conductor_loop.model import display_name  # noqa: PLC0415 - dear, and `--help` does not need it

        return {
            "outcome": ",".join(self.outcomes) or None,
            "kind": ",".join(self.kinds) or None,
            "name": None if self.name is None else display_name(self.name),
            "since": self.since,
            "until": self.until,
            "unresolved": "true" if self.unresolved else None,
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
                **{name: options.pop(name) for name in ("name", "since", "until", "unresolved")},
            )
            _check_order(selection)
            return command(*arguments, selection=selection, **options)

        return _add_options(choose, outcomes)

    return decorate


def _add_options(command: Callable[..., Any], outcomes: Sequence[str]) -> Callable[..., Any]:
    options = [
        *(click.option(f"--{outcome}", is_flag=True, help=_HELP[outcome]) for outcome in outcomes),
        click.option(
            "--unresolved",
            is_flag=True,
            help="Only failed and rejected ones that were not retried. A good file that was dropped under the same "
            "name is another one, and no retry.",
        ),
        click.option(
            "--kind",
            callback=_kinds,
            shell_complete=_complete_kind,
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


def _kinds(ctx: click.Context, param: click.Parameter, typed: Sequence[str]) -> tuple[str, ...]:
    if not typed:
        return ()
    choice = _kind_choice()
    return tuple(str(choice.convert(word, param, ctx)) for word in typed)


def _complete_kind(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    return _kind_choice().shell_complete(ctx, param, typed)


def _kind_choice() -> click.Choice[str]:
    from conductor_loop.model import Kind  # noqa: PLC0415 - dear, and needed only once something is typed

    return click.Choice([str(kind) for kind in Kind])


_HELP = {
    "failed": "Files that failed.",
    "rejected": "Files that were not acceptable and never ran.",
    "processed": "Files that were processed.",
    "open": "Files that have not ended yet; for --since and --until counts when they were taken.",
}


def _check_order(selection: Selection) -> None:
    if selection.since and selection.until and selection.since > selection.until:
        raise click.UsageError(
            f"nothing lies between: --since begins at {_to_second(selection.since)}, and --until ended before that, "
            f"at {_to_second(selection.until)}; swap them"
        )


def _to_second(moment: str) -> str:
    return re.sub(r"\.\d+", "", moment)
