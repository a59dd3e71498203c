"""
What the checks find, and what they are about.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conductor_loop.app.doctor.user import User
from conductor_loop.config import Config
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
    holder: Holder | None  #: of its state directory
    answers: Answers | None

    @property
    def running(self) -> bool:
        return self.holder is not None or self.answers is not None


def ok(name: str, message: str) -> Check:
    return Check(name, Result.OK, message)


def warning(name: str, message: str, hint: str = "") -> Check:
    return Check(name, Result.WARNING, message, hint)


def failed(name: str, message: str, hint: str = "") -> Check:
    return Check(name, Result.FAILED, message, hint)


def skipped(name: str, message: str, hint: str) -> Check:
    return Check(name, Result.SKIPPED, message, hint)


def standing(path: Path) -> Path:
    """
    Return `path`, or the nearest directory above it that exists.
    """
    while not path.exists():
        path = path.parent
    return path
