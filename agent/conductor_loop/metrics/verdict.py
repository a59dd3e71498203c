"""
How the agent is: one state per component, and the worst of them for all.

`RULES` is the table, from which the reference page is made. A rule without a test is what the component
says of itself through `Live.health`; the others are read off the snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from conductor_loop import clock
from conductor_loop.metrics.snapshot import BEAT_LIMIT, COMPONENTS, Condition, Phase, Snapshot, State
from conductor_loop.model import PauseReason

Test = Callable[[Snapshot], str | None]  #: says what is wrong, if anything is


@dataclass(frozen=True, slots=True)
class Rule:
    """
    One line of the table.
    """

    component: str
    state: State
    when: str
    test: Test | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The agent's state and that of each component, with what is wrong.
    """

    status: State
    components: Mapping[str, Condition]


def assess(snapshot: Snapshot) -> Verdict:
    """
    Return the verdict on a snapshot.
    """
    components = {name: _assess_component(name, snapshot) for name in COMPONENTS}
    worst = max((condition.state for condition in components.values()), key=lambda state: state.rank)
    return Verdict(worst, components)


def ready(snapshot: Snapshot) -> bool:
    """
    Tell whether the agent does its work: it runs, neither starting nor stopping, and is not unhealthy.
    """
    return snapshot.phase is Phase.RUNNING and assess(snapshot).status is not State.UNHEALTHY


def document(snapshot: Snapshot, *, version: str, config_hash: str) -> dict[str, Any]:
    """
    Return the document of `GET /health`.
    """
    verdict = assess(snapshot)
    return {
        "status": verdict.status,
        "timestamp": clock.rfc3339(snapshot.taken_at),
        "uptime": clock.duration_text(int(snapshot.uptime)),
        "version": version,
        "agent": snapshot.agent_name,
        "instance_id": snapshot.store_id,
        "config_hash": config_hash,
        "components": {name: condition.state for name, condition in verdict.components.items()},
        "details": _details(snapshot, verdict),
        "warnings": list(snapshot.warnings.values()),
    }


def paused_words(reason: str, message: str) -> str:
    """
    Return what a component says of a pause.
    """
    return f"intake is paused ({reason}): {message}"


def old_sqlite(version: str) -> str | None:
    """
    Return the warning for a version of SQLite that may damage a database in WAL mode; None for a sound one.

    Args:
        version: as `sqlite3.sqlite_version` has it.
    """
    if tuple(int(part) for part in version.split(".")) >= _SOUND_SQLITE:
        return None
    sound = ".".join(str(part) for part in _SOUND_SQLITE)
    return f"SQLite {version} has a rare bug that can damage a database in WAL mode; {sound} is free of it"


def _assess_component(name: str, snapshot: Snapshot) -> Condition:
    said = snapshot.conditions.get(name, Condition(State.HEALTHY))
    found = [said, *_apply_rules(name, snapshot)]
    worst = max((condition.state for condition in found), key=lambda state: state.rank)
    wrong = [condition.message for condition in found if condition.state is not State.HEALTHY]
    return Condition(worst, "; ".join(filter(None, wrong)))


def _apply_rules(name: str, snapshot: Snapshot) -> list[Condition]:
    return [
        Condition(rule.state, message)
        for rule in RULES
        if rule.component == name and rule.test and (message := rule.test(snapshot))
    ]


def _details(snapshot: Snapshot, verdict: Verdict) -> dict[str, Any]:
    return {
        "phase": snapshot.phase,
        "components": {name: found.message for name, found in verdict.components.items() if found.message},
        "paused": {
            reason: {"since": clock.rfc3339(pause.since), "message": pause.message}
            for reason, pause in snapshot.pauses.items()
        },
        "warnings": dict(snapshot.warnings),
    }


def _stuck(snapshot: Snapshot) -> str | None:
    return None if snapshot.ticking else f"the main loop has not ticked for {snapshot.beat_age:.0f}s"


def _still_written(snapshot: Snapshot) -> str | None:
    count = snapshot.gauges.still_written
    return f"files written to for very long: {count}" if count else None


def _clock_moved(snapshot: Snapshot) -> str | None:
    return snapshot.warnings.get("clock")


def _paused(reason: PauseReason) -> Test:
    def test(snapshot: Snapshot) -> str | None:
        pause = snapshot.pauses.get(reason)
        return paused_words(reason, pause.message) if pause else None

    return test


_SOUND_SQLITE = (3, 51, 3)
_D, _U = State.DEGRADED, State.UNHEALTHY

RULES = (
    Rule("fsnotify_watcher", _D, "inotify does not deliver events; the scan finds the files, later"),
    Rule("fsnotify_watcher", _D, "intake is paused by the operator", _paused(PauseReason.OPERATOR)),
    Rule("fsnotify_watcher", _D, "intake is paused to drain the agent", _paused(PauseReason.DRAIN)),
    Rule(
        "fsnotify_watcher",
        _D,
        "the handoff directory is missing, or files cannot be moved in it; intake is paused",
        _paused(PauseReason.HANDOFF),
    ),
    Rule(
        "worker_pool",
        _D,
        "the command is missing or cannot be started; intake is paused",
        _paused(PauseReason.COMMAND),
    ),
    Rule(
        "worker_pool",
        _D,
        "more than `max_waiting` files wait for their next attempt; intake is paused",
        _paused(PauseReason.RETRIES),
    ),
    Rule("worker_pool", _U, f"the main loop has not ticked for {BEAT_LIMIT:g} s", _stuck),
    Rule("worker_pool", _U, "a python handler is past its deadline"),
    Rule("state_manager", _U, "the same files are unaccounted for in two scans"),
    Rule(
        "state_manager",
        _D,
        "the clock moved by more than a day, or the agent was off that long; nothing is deleted for 24 h of running",
        _clock_moved,
    ),
    Rule("file_manager", _D, "a file is still being written after `settle_max`", _still_written),
    Rule("file_manager", _U, "files cannot be moved; each is tried again every second"),
    Rule("metrics", _U, "the configured port cannot be bound; it is tried again every 5 s"),
    Rule("store", _D, "the store cannot be written; intake is paused", _paused(PauseReason.STORE)),
    Rule("store", _U, "the integrity check found the database damaged; the next start sets it aside"),
    Rule(
        "disk",
        _D,
        "free space is below `min_free`, or inodes are few; intake is paused",
        _paused(PauseReason.DISK),
    ),
)
