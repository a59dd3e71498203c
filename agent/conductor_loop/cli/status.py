"""
`conductor-loop status`: the facts about the running agent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from conductor_loop.cli.agent_client import Agent, url_option
from conductor_loop.cli.options import output_option
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import columns, print_json


@click.command()
@output_option
@url_option
@click.pass_obj
def status(session: Session, *, output: str, url: str | None) -> int:
    """
    Show what the running agent does.

    Exits 0 if it could ask, however the agent is, and 3 if nobody answers; `health` gives the verdict.
    """
    agent = Agent.of(session, url)
    health, metrics = agent.ask("/health", "components"), agent.ask("/metrics", "performance")
    if output == "json":
        print_json({"url": agent.where, "health": health, "metrics": metrics})
    else:
        click.echo(columns([("agent", agent.where), *_facts(health, metrics)]))
    return 0


def _facts(health: dict[str, Any], metrics: dict[str, Any]) -> Iterator[tuple[str, object]]:
    yield "health", health.get("status", "unknown")
    yield from explain(health)
    yield "uptime", health.get("uptime", "unknown")
    yield "version", health.get("version", "unknown")
    yield "configuration", health.get("config_hash", "unknown")
    for rows in metrics.values():
        if isinstance(rows, dict):
            yield from _rows({key: value for key, value in rows.items() if key not in _SAID})


_SAID = ("uptime",)  # by the other document


def _rows(facts: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """
    Yield one row per value; where a fact has several, such as one per path, each with what it is of.
    """
    for key, value in facts.items():
        words = key.replace("_", " ")
        if isinstance(value, dict) and value:
            yield from ((words, f"{of}: {_shown(one)}") for of, one in value.items())
        else:
            yield words, _shown(value)


def _shown(value: object) -> object:
    if value is None or value == {}:
        return "-"
    return round(value, 6) if isinstance(value, float) else value


def explain(health: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """
    Yield what keeps the agent from being healthy, one row per component, and its warnings.
    """
    said = health.get("details", {}).get("components", {})
    for name, state in health.get("components", {}).items():
        if state != "healthy":
            yield f"  {name}", f"{state}: {said[name]}" if name in said else state
    for warning in health.get("warnings", []):
        yield "  warning", warning
