# ruff: noqa: INP001 - beside the script that uses it
"""
The page about the verdicts of `/health` and what makes intake pause.
"""

from __future__ import annotations

from collections.abc import Iterator

from page import head, paragraphs, table

from conductor_loop.metrics.verdict import RULES
from conductor_loop.model import PauseReason


def health() -> Iterator[str]:
    """
    Yield the lines of the page.
    """
    yield from head("Health", INTRODUCTION)
    yield from ("## Components", "")
    yield from table("component | degraded when | unhealthy when", _components())
    yield from ("## The answer", "", *paragraphs(ANSWER))
    yield from table("key | meaning", ((f"`{key}`", text) for key, text in KEYS.items()))
    yield from ("## Why intake pauses", "", *paragraphs(PAUSES))
    yield from table(
        "reason | begins when | ends when", ((f"`{reason}`", *REASONS[reason]) for reason in PauseReason)
    )


def _components() -> Iterator[tuple[str, str, str]]:
    for component in dict.fromkeys(rule.component for rule in RULES):
        degraded, unhealthy = (
            "<br>".join(rule.when for rule in RULES if rule.component == component and rule.state == state)
            for state in ("degraded", "unhealthy")
        )
        yield f"`{component}`", degraded, unhealthy


INTRODUCTION = """
    `GET /health` gives each component a state; the worst of them is that of the agent, which
    `conductor-loop health` turns into an exit code. Warnings change no state: an old version of SQLite, for example,
    or polling instead of inotify on a network file system.

    | route | answers 200 | answers 503 |
    |---|---|---|
    | `/health` | healthy or degraded | unhealthy |
    | `/health/live` | the main loop ticks | it has stood still for 10 s: the process is to be started again |
    | `/health/ready` | the agent runs and is not unhealthy | it starts, recovers, stops or is unhealthy |
"""

ANSWER = """
    What `GET /health` says, and `conductor-loop health -o json` as `health`:
"""

KEYS = {
    "status": "`healthy`, `degraded` or `unhealthy`.",
    "timestamp": "When this was read, such as `2026-11-23T18:58:15Z`.",
    "uptime": "Time since the agent was started, such as `2h15m30s`.",
    "version": "Version of the program that runs.",
    "agent": "The name of the agent, `agent.name` of its configuration.",
    "instance_id": "That of its database; ids of files begin with it.",
    "config_hash": "Short hash of the configuration in use; another one means another configuration.",
    "components": "The state of each component, by its name.",
    "details": "`phase` (`starting`, `recovering`, `running`, `stopping`); `components`: what is wrong, by component; "
    "`paused`: `since` and `message` of each reason for which intake is paused; `warnings`: those below, by a key.",
    "warnings": "What should be looked at and changes no state, one sentence each.",
}

PAUSES = """
    While intake is paused, new files stay in the handoff directory and nothing is lost. Files that were taken before
    are worked off. There may be several reasons; intake goes on when none is left. None but `operator` and `drain`
    needs anybody to lift it: once the cause is mended, intake goes on by itself. These two survive a restart.
"""

REASONS = {
    PauseReason.OPERATOR: ("`conductor-loop pause`", "`conductor-loop resume`"),
    PauseReason.DRAIN: (
        "`conductor-loop drain`; files that wait for another attempt wait on, too",
        "`conductor-loop resume`",
    ),
    PauseReason.DISK: (
        "`handoff_dir`, `state_dir` or `out_dir` has less than `min_free` or 256 inodes free; or an attempt failed while `out_dir` had so little",
        "there is 5 % more than that; looked at every second",
    ),
    PauseReason.STORE: ("the database cannot be written", "it can; tried every half second"),
    PauseReason.COMMAND: (
        "the command is missing, may not be executed, or cannot be started (no processes, memory or descriptors left)",
        "it could be started; files that met this try every 5 s",
    ),
    PauseReason.RETRIES: (
        "more than `max_waiting` files wait for another attempt",
        "at most 90 % of `max_waiting` wait",
    ),
    PauseReason.HANDOFF: (
        "the handoff directory is missing or closed to us; no slot can be made; or `look_ahead` files cannot be moved",
        "the directory is there again; files can be moved again",
    ),
}
