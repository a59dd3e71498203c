"""
What a running agent says of itself, and what a dead one has left behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from conductor_loop import __version__
from conductor_loop.app.doctor.findings import (
    Check,
    Result,
    Subject,
    as_agent_user,
    counted,
    failed,
    ok,
    skipped,
    warning,
)
from conductor_loop.app.parts import paths_of
from conductor_loop.config import Config, config_hash
from conductor_loop.ledger import recovery
from conductor_loop.ledger.locks import Role, holder
from conductor_loop.ledger.marks import Mark, read_marks
from conductor_loop.ledger.reconcile import loose_files
from conductor_loop.ledger.recovery import Action, Adopt, Close
from conductor_loop.ledger.sight import Sight
from conductor_loop.ledger.survey import survey
from conductor_loop.metrics.verdict import old_sqlite
from conductor_loop.model import ASKED_FOR, display_name
from conductor_loop.store.database import Store
from conductor_loop.store.inspection import Contents
from conductor_loop.work.tree import Tree

_SHOWN = 5  #: names in a message
_RESULTS = {"healthy": Result.OK, "degraded": Result.WARNING}


@dataclass(frozen=True, slots=True)
class Leftovers:
    """
    What the next start finds.
    """

    actions: Sequence[Action]  #: of recovery, in their order
    loose: Sequence[str]  #: files below work/ that are in no slot; recovery leaves them alone
    running: int  #: processes that a dead agent has started


def check_owner(subject: Subject) -> Iterator[Check]:
    """
    Look who uses the directories.
    """
    if not subject.running:
        yield failed("agent", subject.busy) if subject.busy else _check_work_dir(subject)
        return
    words = subject.holder.words if subject.holder else "an agent that this process cannot see"
    if subject.answers is None and subject.shut_out:
        message = f"{words} runs; this user may not ask it"
        yield skipped("agent", message, as_agent_user(subject.user))
    elif subject.answers is None:
        hint = "wait a moment if it has just been started; otherwise look into its log, or restart it"
        yield failed("agent", f"{words} runs and answers neither at its admin socket nor over HTTP", hint)
    else:
        yield ok("agent", f"{words} runs; what follows it says at {subject.answers.where}")


def check_health(subject: Subject) -> Iterator[Check]:
    """
    Repeat what the running agent says of itself.
    """
    if subject.answers is None:
        return
    health = subject.answers.health
    details: dict[str, Any] = health.get("details", {})
    for name, state in health.get("components", {}).items():
        message = details.get("components", {}).get(name, "")
        result = _RESULTS.get(str(state), Result.FAILED)
        words = f"{state}: {message}" if message else str(state)
        yield Check(name, result, words, "" if result is Result.OK else "see docs/reference/health.md")
    for reason, pause in details.get("paused", {}).items():
        yield paused(reason, pause.get("since"), pause.get("message"))
    for line in health.get("warnings", []):
        if line != old_sqlite(Store.sqlite_version):  # said already
            yield warning("agent", line)
    yield from _check_same(subject.config, health)


def paused(reason: str, since: str, message: str) -> Check:
    """
    Say that intake is paused, or will be at the next start.

    Args:
        since: RFC 3339.
    """
    hint = "`conductor-loop resume` ends it" if reason in ASKED_FOR else "it ends when the cause is mended"
    return warning("intake", f"paused since {since}: {reason}: {message}", hint)


def find_leftovers(config: Config, contents: Contents | None) -> Leftovers:
    """
    Return what recovery would do now; nothing is touched.

    Args:
        contents: of the database; None: there is none, or the next start begins a new one.

    Raises:
        OSError: if we may not look everywhere.
    """
    marks = read_marks(config.agent.state_dir / "running")
    rows = contents.rows or [] if contents else []
    store_id = contents.schema.store_id if contents else ""
    with closing(Sight(paths_of(config), agent=config.agent.name)) as sight:
        by_id = {mark.id: mark for mark in marks}
        actions = recovery.plan(survey(sight, rows, by_id, store_id))
        loose = sorted(loose_files(sight.work_fd))
    return Leftovers(actions, loose, _count_running(marks))


def check_leftovers(found: Leftovers) -> Iterator[Check]:
    """
    Say what was left behind, where no agent runs.
    """
    if found.loose:
        shown = ", ".join(display_name(name) for name in found.loose[:_SHOWN])
        count = counted(len(found.loose), "file in work/ belongs", "files in work/ belong")
        hint = "nobody works on what lies there: move it to where it belongs"
        yield failed("leftovers", f"{count} to no slot: {shown}", hint)
    if found.running:
        words = counted(
            found.running,
            "process of an agent that has died still runs",
            "processes of an agent that has died still run",
        )
        yield warning("leftovers", words, "the next start ends what runs there, and runs the file again")
    adopted = [action.describe() for action in found.actions if isinstance(action, Adopt)]
    if adopted:
        count = counted(len(adopted), "file in work/ has", "files in work/ have")
        words = f"{count} no row: {'; '.join(adopted[:_SHOWN])}"
        yield warning("leftovers", words, "start the agent: it takes what is there as new")
    if not (found.loose or found.running or adopted):
        waiting = sum(not isinstance(action, Close) for action in found.actions)
        words = counted(waiting, "file waits for the next start", "files wait for the next start")
        yield ok("leftovers", f"{words}; every one has its row")


def _check_work_dir(subject: Subject) -> Check:
    other = holder(subject.config.agent.work_dir)
    if other is None or other.role is Role.COMMAND:
        return ok("agent", "no agent runs")
    return failed(
        "agent",
        f"{display_name(str(subject.config.agent.work_dir))} is in use by {other.words}, with another state_dir",
        "one agent at a time: stop that, or give this one a handoff directory of its own",
    )


def _check_same(config: Config, health: Any) -> Iterator[Check]:
    version, hash_there = health.get("version"), health.get("config_hash")
    if version != __version__:
        yield warning(
            "version",
            f"{version} runs, and this is {__version__}",
            "restart the agent to run what is installed",
        )
    if hash_there != config_hash(config):
        yield warning(
            "configuration",
            "the agent runs with another one than is read from here",
            "`conductor-loop reload`; does the service set variables that this shell does not?",
        )


def _count_running(marks: Sequence[Mark]) -> int:
    return sum(len(Tree(mark.id, None).alive()) for mark in marks)
