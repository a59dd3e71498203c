"""
`conductor-loop files`: single files, found, explained and run again.
"""

from __future__ import annotations

import click

from conductor_loop.cli.lazy import Entry, LazyGroup

COMMANDS = (
    Entry("explain", "explain", "Say what would happen to a file, without touching it."),
    Entry("list", "files_list", "List files and how they ended, by id, newest first."),
    Entry("retry", "files_retry", "Run failed and rejected files again."),
    Entry("show", "files_show", "Show everything about one file: every run with its output."),
)


@click.group(cls=LazyGroup, table=COMMANDS)
def files() -> None:
    """
    Ask about single files, and run failed ones again.
    """
