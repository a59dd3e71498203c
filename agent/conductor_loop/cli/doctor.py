"""
`conductor-loop doctor`: what is wrong around the agent, with a hint for everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from conductor_loop.cli.options import output_option
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import plain, print_json, wants_colour
from conductor_loop.errors import ConfigError, PermissionDeniedError, UnreachableError

if TYPE_CHECKING:
    from conductor_loop.app.doctor import Answers, Examination
    from conductor_loop.config import Config

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "bright_black"}
_MOST_ACTIONS = 20  #: of recovery, that the table shows


@click.command()
@output_option
@click.pass_obj
def doctor(session: Session, *, output: str) -> int:
    """
    Look for what is wrong around the agent.

    Checks interpreter, configuration, directories, command, database, limits and clock, each with a hint if
    something is wrong, and tells what the next start would do with the files that are in work. Nothing is changed
    or locked, whether an agent runs or not. Exits 1 if a check failed; what this user may not look at is skipped.
    """
    found = _examine(session)
    if output == "json":
        print_json(_document(found))
    else:
        click.echo("\n".join(_lines(found, colour=wants_colour())))
    return 0 if found.passed else 1


def _examine(session: Session) -> Examination:
    # They bring every library of the agent, which `--help` does not need.
    from conductor_loop.app.doctor import examine, examine_without  # noqa: PLC0415

    try:
        loaded = session.load()
    except (ConfigError, PermissionDeniedError) as error:
        return examine_without(error)
    source = str(session.path) if session.path else "built-in defaults"
    return examine(loaded.config, source=source, warnings=loaded.warnings, ask=lambda: _ask(loaded.config))


def _ask(config: Config) -> Answers | None:
    """
    Return what the running agent says of itself, at the admin socket or else over HTTP.
    """
    # As above.
    from conductor_loop.app.doctor import Answers  # noqa: PLC0415
    from conductor_loop.cli.agent_client import Agent  # noqa: PLC0415
    from conductor_loop.cli.target import Target  # noqa: PLC0415

    agent = Agent(Target(config))
    try:
        health = agent.ask("/health", "components")
    except (UnreachableError, PermissionDeniedError):
        return None
    return Answers(agent.where, by_socket=agent.where.startswith("unix:"), health=health)


def _document(found: Examination) -> dict[str, Any]:
    return {
        "passed": found.passed,
        "running": found.running,
        "user": found.user,
        "checks": [
            {"name": check.name, "result": check.result, "message": check.message, "hint": check.hint}
            for check in found.checks
        ],
        "recovery": None
        if found.recovery is None
        else [
            {"action": type(action).__name__.lower(), "message": action.describe()}
            for action in found.recovery
        ],
    }


def _lines(found: Examination, *, colour: bool) -> Iterator[str]:
    width = max(len(check.name) for check in found.checks)
    for check in found.checks:
        result = f"{check.result:<7}"
        shown = click.style(result, fg=_COLOURS[check.result]) if colour else result
        yield f"{shown}  {check.name:<{width}}  {plain(check.message)}"
        if check.hint:
            yield f"{'':7}  {'':{width}}  hint: {plain(check.hint)}"
    yield ""
    yield from _recovery(found)
    counts = Counter(str(check.result) for check in found.checks)
    words = {"warning": "warnings"}
    yield ", ".join(
        f"{counts[result]} {words.get(result, result) if counts[result] > 1 else result}"
        for result in _COLOURS
        if counts[result]
    )


def _recovery(found: Examination) -> Iterator[str]:
    if found.recovery is None:
        return
    if not found.recovery:
        yield "the next start finds nothing to recover"
        return
    yield "what the next start does before anything else:"
    if found.drained:
        yield "  (a drain stands: nothing of it is run before `conductor-loop resume`)"
    for action in found.recovery[:_MOST_ACTIONS]:
        yield f"  {plain(action.describe())}"
    if len(found.recovery) > _MOST_ACTIONS:
        yield f"  and so on, {len(found.recovery)} files in all (-o json lists them)"
