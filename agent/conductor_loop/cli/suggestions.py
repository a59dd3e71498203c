"""
The newest files for the completion of a shell: soon, or none at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import click
from click.shell_completion import CompletionItem

from conductor_loop.cli.admin import Admin
from conductor_loop.cli.selection import FILES
from conductor_loop.cli.session import Session
from conductor_loop.errors import ConductorError

NEWEST = 50
PATIENCE_SECONDS = 0.3  #: whoever pressed a key does not wait longer
_HARMLESS = re.compile(r"[\w.,:@%+/-]+")  #: what no shell takes for anything else

Suggest = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def newest_files(*, names: bool, **query: str) -> Suggest:
    """
    Return what suggests the ids of the newest files, where an agent runs and answers at once.

    Args:
        names: suggest names, too, once something was typed.
        query: of the request for files.
    """

    def suggest(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
        found = _ask(ctx.find_root(), query)
        words = {file["id"]: file["name"] for file in found}
        if names and typed:
            words |= {file["name"]: file["id"] for file in found if _HARMLESS.fullmatch(file["name"])}
        return list(_items(words, typed))

    return suggest


def _ask(root: click.Context, query: dict[str, str]) -> list[dict[str, Any]]:
    from conductor_loop.cli.door import Door  # noqa: PLC0415 - brings the configuration, which no other completion needs

    given = {name: root.params.get(name) for name in ("config", "instance")}
    try:
        # Made here, as no command runs.
        config = Session.from_options(root, **given, log_level=None).load().config
        admin = Admin(Door.of(config, answer_seconds=PATIENCE_SECONDS))
        files: list[dict[str, Any]] = admin.get(FILES, **query, limit=NEWEST)["files"]
    except (ConductorError, click.ClickException):  # nobody asked to be told so
        return []
    return files


def _items(words: dict[str, str], typed: str) -> Iterator[CompletionItem]:
    return (CompletionItem(word, help=other) for word, other in words.items() if word.startswith(typed))
