"""
`conductor-loop status`: the facts about the running agent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import click

from conductor_loop.cli.numbers import describe
from conductor_loop.cli.options import output_option, url_option
from conductor_loop.cli.pauses import each
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import columns, print_json

Document = Mapping[str, Any]


@click.command()
@output_option
@url_option
@click.pass_obj
def status(session: Session, *, output: str, url: str | None) -> int:
    """
    Show what the running agent does.

    Exits 0 if it could ask, however the agent is, and 3 if nobody answers; `health` gives the verdict.
    """
    # Brings the configuration, which `--help` does not need.
    from conductor_loop.cli.agent_client import Agent  # noqa: PLC0415

    agent = Agent.of(session, url)
    health, metrics = agent.ask("/health", "components"), agent.ask("/metrics", "performance")
    if output == "json":
        print_json({"url": agent.where, "health": health, "metrics": metrics})
    else:
        click.echo(columns(_facts(agent.where, health, metrics)))
    return 0


def _facts(where: str, health: Document, metrics: Document) -> Iterator[tuple[str, object]]:
    yield "agent", f"{health.get('agent', 'unnamed')}, at {where}"
    yield "health", health.get("status", "unknown")
    yield from verdict_rows(health)
    yield "uptime", health.get("uptime", "unknown")
    yield "version", health.get("version", "unknown")
    yield "configuration", health.get("config_hash", "unknown")
    yield from describe(metrics)


def verdict_rows(health: Document, *, without: Collection[str] = ()) -> Iterator[tuple[str, object]]:
    """
    Yield what keeps the agent from being healthy, one row per component, why intake stands still, and its warnings.

    Args:
        without: keys of warnings that are left out.
    """
    details = health.get("details", {})
    pauses = details.get("paused", {})
    for name, state in health.get("components", {}).items():
        if state != "healthy":
            said = details.get("components", {}).get(name)
            yield f"  {name}", f"{state}: {_shortened(said, pauses)}" if said else state
    for words in each(pauses):
        yield "  intake paused", words
    known = details.get("warnings")  # by their keys
    warnings = health.get("warnings", [])
    for warning in warnings if known is None else (known[key] for key in known if key not in without):
        yield "  warning", warning


def _shortened(said: str, pauses: Document) -> str:
    """
    Return what a component says, without the messages of pauses, which have rows of their own.
    """
    from conductor_loop.metrics.verdict import paused_words  # noqa: PLC0415 - dear, and `--help` does not need it

    for reason, pause in pauses.items():
        said = said.replace(paused_words(reason, pause["message"]), "intake is paused")
    return "; ".join(dict.fromkeys(said.split("; ")))
