"""
What the checks find, and what they are about.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conductor_loop.app.doctor.user import User
from conductor_loop.config import Config, admin_socket
from conductor_loop.ledger.locks import Holder


class Result(enum.StrEnum):
    """
    How a check ended.
    """

    OK = "ok"
    WARNING = "warning"  #: works, and is worth a look
    FAILED = "failed"  #: does not work
    SKIPPED = "skipped"  #: we may not look


@dataclass(frozen=True, slots=True)
class Check:
    """
    One thing that was looked at.
    """

    name: str
    result: Result
    message: str
    hint: str = ""  #: what to do


@dataclass(frozen=True, slots=True)
class Answers:
    """
    What a running agent says of itself.
    """

    where: str  #: it was asked
    by_socket: bool  #: the admin socket, not HTTP
    health: Mapping[str, Any]  #: the document of `/health`


@dataclass(frozen=True, slots=True)
class Subject:
    """
    The agent that is looked at.
    """

    config: Config
    user: User  #: that it runs as, or would
    holder: Holder | None  #: the agent that holds its state directory
    answers: Answers | None
    busy: str = ""  #: that a command uses its state directory

    @property
    def running(self) -> bool:
        return self.holder is not None or self.answers is not None

    @property
    def shut_out(self) -> bool:
        """
        Tell whether an agent may well answer at its admin socket, but not us.
        """
        path = admin_socket(self.config)
        return path.is_socket() and not os.access(path, os.W_OK, effective_ids=True)


def ok(name: str, message: str) -> Check:
    return Check(name, Result.OK, message)


def warning(name: str, message: str, hint: str = "") -> Check:
    return Check(name, Result.WARNING, message, hint)


def failed(name: str, message: str, hint: str = "") -> Check:
    return Check(name, Result.FAILED, message, hint)


def skipped(name: str, message: str, hint: str) -> Check:
    return Check(name, Result.SKIPPED, message, hint)


def as_agent_user(user: User) -> str:
    """
    Return the hint for who may not look.
    """
    return f"run as the agent's user, {user.name}"


def counted(number: int, one: str, many: str) -> str:
    """
    Return how many there are of something, with the words that fit the number.
    """
    return f"{number} {one if number == 1 else many}"


def standing(path: Path) -> Path:
    """
    Return `path`, or the nearest directory above it that exists.
    """
    while not path.exists():
        path = path.parent
    return path
