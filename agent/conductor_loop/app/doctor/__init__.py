"""
`doctor`: what is wrong around an agent, and what its next start would do, without touching anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from conductor_loop import clock
from conductor_loop.app.doctor import agent, database, directories, environment, network, processing
from conductor_loop.app.doctor.database import Reading
from conductor_loop.app.doctor.findings import (
    Answers,
    Check,
    Result,
    Subject,
    as_agent_user,
    failed,
    ok,
    skipped,
    warning,
)
from conductor_loop.app.doctor.user import agent_user
from conductor_loop.config import Config, config_hash
from conductor_loop.errors import CommandAtWorkError, ConductorError, ConfigError, OwnedError
from conductor_loop.ledger.locks import PATIENCE_SECONDS, agent_at, await_free
from conductor_loop.ledger.recovery import Action
from conductor_loop.model import PauseReason, display_name

__all__ = ["Answers", "Check", "Examination", "Result", "examine", "examine_without"]


@dataclass(slots=True)
class Examination:
    """
    What was found.
    """

    checks: list[Check] = field(default_factory=list)
    user: str = ""  #: that the agent runs as, or would
    running: bool = False
    #: What recovery would do at the next start; None: an agent runs, or it cannot be told.
    recovery: Sequence[Action] | None = None
    drained: bool = False  #: by somebody, so that the next start runs nothing before `resume`

    @property
    def passed(self) -> bool:
        return not any(check.result is Result.FAILED for check in self.checks)


def examine(
    config: Config, *, source: str, warnings: Sequence[str], ask: Callable[[], Answers | None]
) -> Examination:
    """
    Look at everything that an agent with this configuration needs.

    Args:
        source: of the configuration, as a message names it.
        warnings: that came with it.
        ask: returns what the running agent says of itself; None if none answers.
    """
    busy = _await_commands(config)
    held = agent_at(config.agent.state_dir)
    user = agent_user(held.pid if held else None, config.agent.state_dir)
    answers = ask()
    if answers is not None and held is None and not answers.by_socket and not _is_ours(config, answers):
        answers = None  # another agent has our port
    doctor = _Doctor(Subject(config, user, held, answers, busy))
    doctor.found.checks.extend(environment.check_interpreter())
    doctor.found.checks.extend(_check_configuration(source, warnings))
    doctor.look_at_everything()
    return doctor.found


def examine_without(error: ConductorError) -> Examination:
    """
    Look at what can be looked at where the configuration cannot be used.
    """
    problems = error.problems if isinstance(error, ConfigError) else [str(error)]
    hint = "mend it, then `conductor-loop check-config`"
    found = [failed("configuration", problem, hint) for problem in problems]
    return Examination([*environment.check_interpreter(), *found])


class _Doctor:
    """
    Makes checks of which none ends the others.
    """

    def __init__(self, subject: Subject) -> None:
        self.found = Examination(user=subject.user.name, running=subject.running)
        self._subject = subject
        self._reading: Reading | None = None  # None: we may not

    def look_at_everything(self) -> None:
        subject, config = self._subject, self._subject.config
        checks: dict[str, Callable[[], Iterable[Check]]] = {
            "agent": partial(agent.check_owner, subject),
            "health": partial(agent.check_health, subject),
            "directories": partial(directories.check_directories, subject),
            "moves": partial(directories.check_moves, config),
            "space": partial(directories.check_space, config),
            "processing": partial(processing.check_processing, subject),
            "database": self._read_database,
            "integrity": partial(database.check_integrity, config.agent.state_dir),
            "intake": self._check_pauses,
            "leftovers": self._plan_recovery,
            "port": partial(network.check_port, subject),
            "admin_socket": partial(network.check_socket, subject),
            "inotify": partial(environment.check_inotify, subject),
            "descriptors": partial(environment.check_descriptors, subject),
            "clock": self._check_clock,
        }
        for name, check in checks.items():
            self._look(name, check)

    def _look(self, name: str, check: Callable[[], Iterable[Check]]) -> None:
        try:
            self.found.checks.extend(check())
        except PermissionError as error:
            words = f"{display_name(str(error.filename or name))}: this user may not look at it"
            self.found.checks.append(skipped(name, words, as_agent_user(self._subject.user)))
        except OSError as error:
            self.found.checks.append(warning(name, f"cannot be looked at: {error}"))

    def _read_database(self) -> Iterator[Check]:
        self._reading = database.read(self._subject.config.agent.state_dir)
        yield self._reading.check

    def _check_pauses(self) -> Iterator[Check]:
        if self._subject.running:
            return  # it has said so itself
        contents = self._reading.contents if self._reading else None
        pauses = contents.pauses if contents else {}
        self.found.drained = PauseReason.DRAIN in pauses
        for reason, (since, message) in pauses.items():
            yield agent.paused(reason, clock.rfc3339(since), message)

    def _plan_recovery(self) -> Iterator[Check]:
        if self._subject.running:
            return  # its files move while we look; it says itself whether one is unaccounted for
        if self._subject.busy:
            yield skipped("leftovers", "they change while a command is at work", "try again")
            return
        reading = self._reading
        if reading is None or not reading.complete:
            yield skipped("leftovers", "what recovery would do depends on the database", "see there")
            return
        left = agent.find_leftovers(self._subject.config, reading.contents)
        self.found.recovery = left.actions
        yield from agent.check_leftovers(left)

    def _check_clock(self) -> Iterator[Check]:
        contents = self._reading.contents if self._reading else None
        yield from environment.check_clock(contents.last_sample_at if contents else None)


def _await_commands(config: Config) -> str:
    """
    Return what is to be said of a command that goes on using the state directory; mostly nothing.
    """
    try:
        await_free(config.agent.state_dir, PATIENCE_SECONDS)
    except CommandAtWorkError as error:
        return str(error)
    except OwnedError:  # by an agent, which is asked itself
        pass
    return ""


def _is_ours(config: Config, answers: Answers) -> bool:
    return answers.health.get("config_hash") == config_hash(config)


def _check_configuration(source: str, warnings: Sequence[str]) -> Iterator[Check]:
    yield ok("configuration", f"{source}: can be used")
    for line in warnings:
        yield warning("configuration", line, "`conductor-loop check-config --strict` refuses such keys")
