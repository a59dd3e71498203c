"""
`conductor-loop health`: the verdict on the running agent, for scripts and monitors.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from conductor_loop.cli.options import duration_option, output_option, url_option
from conductor_loop.cli.session import Session
from conductor_loop.cli.status import verdict_rows
from conductor_loop.cli.terminal import columns, print_json
from conductor_loop.errors import UnreachableError

if TYPE_CHECKING:
    from conductor_loop.cli.agent_client import Agent

HEALTHY, UNREACHABLE, UNHEALTHY = 0, UnreachableError.exit_code, 4
POLL_SECONDS = 0.25
LASTING_WARNINGS = ("sqlite",)  #: that say the same at every look; `status` and `doctor` have them


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The answer: an exit code and why.
    """

    code: int
    verdict: str  #: healthy, degraded, unhealthy, unreachable
    reason: str = ""
    health: dict[str, Any] | None = None  #: what the agent said


@click.command()
@duration_option(
    "--wait", 'Ask again until the answer is good, for at most this long, such as 30 or "2m".', default="0"
)
@click.option("--expect-version", metavar="VERSION", help="Another version counts as unhealthy.")
@click.option("--strict", is_flag=True, help="Degraded counts as unhealthy.")
@output_option
@url_option
@click.pass_obj
def health(
    session: Session,
    *,
    wait: float | None,
    expect_version: str | None,
    strict: bool,
    output: str,
    url: str | None,
) -> int:
    """
    Say whether the running agent is healthy.

    Exits 0 if it is healthy or degraded, 4 if it is unhealthy or of another version than expected,
    3 if nobody answers.
    """
    # Brings the configuration, which `--help` does not need.
    from conductor_loop.cli.agent_client import Agent  # noqa: PLC0415

    agent = Agent.of(session, url)
    answer = _wait_for_health(agent, wait or 0.0, expect_version=expect_version, strict=strict)
    if output == "json":
        shown = {
            "url": agent.where,
            "verdict": answer.verdict,
            "exit_code": answer.code,
            "reason": answer.reason,
        }
        print_json(shown | {"health": answer.health})
    elif answer.health is None:
        raise UnreachableError(answer.reason)
    else:
        reason = [("  reason", answer.reason)] if answer.reason else []
        click.echo(
            columns(
                [("health", answer.verdict), *reason, *verdict_rows(answer.health, without=LASTING_WARNINGS)]
            )
        )
    return answer.code


def _wait_for_health(agent: Agent, wait: float, *, expect_version: str | None, strict: bool) -> Verdict:
    deadline, never = time.monotonic() + wait, threading.Event()
    while True:
        answer = _judge(agent, expect_version=expect_version, strict=strict)
        left = deadline - time.monotonic()
        if answer.code == HEALTHY or left <= 0:
            return answer
        never.wait(min(POLL_SECONDS, left))


def _judge(agent: Agent, *, expect_version: str | None, strict: bool) -> Verdict:
    try:
        answer = agent.ask("/health", "components")
    except UnreachableError as exc:
        return Verdict(UNREACHABLE, "unreachable", str(exc))
    verdict, version = str(answer.get("status")), answer.get("version")
    if expect_version is not None and version != expect_version:
        return Verdict(UNHEALTHY, "unhealthy", f"version {version} runs, not {expect_version}", answer)
    if strict and verdict == "degraded":
        return Verdict(
            UNHEALTHY, "unhealthy", "the agent is degraded, which --strict does not accept", answer
        )
    return Verdict(HEALTHY if verdict in ("healthy", "degraded") else UNHEALTHY, verdict, "", answer)
