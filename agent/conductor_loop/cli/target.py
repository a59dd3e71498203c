"""
Which agent a command is about, also where its configuration has mistakes by now.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from conductor_loop.cli.door import Door
from conductor_loop.cli.session import Session
from conductor_loop.cli.streams import tell
from conductor_loop.config import Config
from conductor_loop.errors import ConductorError, ConfigError, PermissionDeniedError


@dataclass(frozen=True, slots=True)
class Target:
    """
    The configuration of the agent, and what is wrong with it.
    """

    config: Config
    #: Why it cannot be used; then it says where the agent that runs is asked, and nothing else.
    error: ConductorError | None = None


def find_target(session: Session) -> Target:
    """
    Return the agent that the session is about.

    Where the configuration cannot be used, an agent that runs can still be asked: it has one of its own.

    Raises:
        ConfigError, PermissionDeniedError: it cannot be used, and no agent answers where it says.
    """
    try:
        return Target(session.load().config)
    except (ConfigError, PermissionDeniedError) as error:
        config = session.salvage()
        if config is None or not _answers(config):
            raise
        wrong = "has mistakes, see `conductor-loop check-config`"
        if isinstance(error, PermissionDeniedError):
            wrong = "may not be read by this user"
        where = session.path or "the configuration"
        tell([f"warning: {where} {wrong}; asking the agent that runs"], err=True)
        return Target(config, error)


def _answers(config: Config) -> bool:
    with suppress(ConductorError):
        return Door.of(config).answers()
    return False
