"""
`conductor-loop top`: the running agent, live.
"""

from __future__ import annotations

import sys

import click

from conductor_loop.cli.admin import Admin, connect
from conductor_loop.cli.options import duration_option, output_option
from conductor_loop.cli.picture import Facts, Line, draw
from conductor_loop.cli.screen import take_screen
from conductor_loop.cli.selection import Selection
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import cut, plain, print_json, terminal_width, wants_colour
from conductor_loop.errors import ConductorError, UnreachableError

LAST_FILES = 10
SHORTEST = 0.1  # seconds


@click.command()
@click.option("--once", is_flag=True, help="Print one picture and end; so it is where stdout is no terminal.")
@duration_option("--interval", "How often to look, such as 500ms.", default="2s", show_default=True)
@output_option
@click.pass_obj
def top(session: Session, *, once: bool, interval: float | None, output: str) -> int:
    """
    Watch the running agent.

    Shows health, pauses, workers, queue, throughput, totals, errors, resources and the last files. Ends with q or
    Ctrl-C.
    """
    if interval is None or interval < SHORTEST:
        raise click.BadParameter('too short; write at least "100ms"', param_hint="--interval")
    with connect(session, needed=f"start it with {session.command('run')}") as admin:
        if output == "json":
            facts = _ask(admin)
            print_json({"health": facts.health, "metrics": facts.metrics, "files": facts.files})
        elif once or not sys.stdout.isatty():
            colour = wants_colour()
            click.echo(
                "\n".join(_styled(line, colour=colour) for line in draw(_ask(admin), width=terminal_width()))
            )
        else:
            _watch(admin, interval)
    return 0


def _watch(admin: Admin, interval: float) -> None:
    colour = wants_colour()
    with take_screen() as screen:
        screen.show([_styled(line, colour=colour) for line in _picture(admin)])
        while screen.wait(interval):
            screen.show([_styled(line, colour=colour) for line in _picture(admin)])


def _picture(admin: Admin) -> list[Line]:
    width = terminal_width()
    try:
        return draw(_ask(admin), width=width)
    except ConductorError as error:  # it may be starting again; whoever watches wants to see that
        return [Line(cut(plain(str(error)), width), "red")]


def _ask(admin: Admin) -> Facts:
    health, metrics = admin.get("/health"), admin.get("/metrics")
    if "components" not in health or "performance" not in metrics:
        raise UnreachableError("who answers there is no agent of this version")
    return Facts(health, metrics, Selection().newest(admin, LAST_FILES)[0])


def _styled(line: Line, *, colour: bool) -> str:
    return click.style(line.text, fg=line.colour) if colour and line.colour else line.text
