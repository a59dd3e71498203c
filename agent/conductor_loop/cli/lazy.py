"""
Groups of commands that are imported when they are called, not when they are listed.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import click


class Entry(NamedTuple):
    """
    One command that a group lists.
    """

    name: str
    module: str  #: below this package; the command in it has the same name
    help: str  #: the first sentence of the command's own help


class LazyGroup(click.Group):
    """
    A group whose help and completion come from a table, so that they are as quick as one module's import.
    """

    def __init__(self, *arguments: Any, table: Iterable[Entry], **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._table = {entry.name: entry for entry in table}
        for entry in self._table.values():
            self.add_command(click.Command(entry.name, short_help=entry.help))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, self._load(name) if name in self._table else command, rest

    def load(self) -> Mapping[str, click.Command]:
        """
        Import all commands and return them by name.
        """
        for name in list(self._table):
            self._load(name)
        return self.commands

    def _load(self, name: str) -> click.Command:
        entry = self._table.pop(name)
        module = importlib.import_module(f"conductor_loop.cli.{entry.module}")
        command: click.Command = getattr(module, entry.module)
        self.commands[name] = command
        return command


def commands_below(command: click.Command) -> Mapping[str, click.Command]:
    """
    Return the commands of a group by name, each with all its options; none for a single command.
    """
    if isinstance(command, LazyGroup):
        return command.load()
    return command.commands if isinstance(command, click.Group) else {}
