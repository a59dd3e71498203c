"""
What the admin socket needs from the agent behind it, and what it gets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from conductor_loop.metrics.snapshot import Pause
from conductor_loop.model import PauseReason
from conductor_loop.store.queries import Reader

#: Questions that are answered on the admin socket, besides all pages of the TCP server.
QUESTIONS = ("/api/v1/files", "/api/v1/files/<id>", "/api/v1/pauses")
#: What changes something, by POST; on the admin socket alone.
CHANGES = (
    "/api/v1/files/<id>/retry",
    "/api/v1/pause",
    "/api/v1/resume",
    "/api/v1/drain",
    "/api/v1/stop",
    "/api/v1/reload",
)


class Retried(Protocol):
    """
    A file that is tried again; one that only would be has no id yet.
    """

    @property
    def id(self) -> str | None: ...

    @property
    def retry_of(self) -> int: ...

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> Path: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Draining:
    """
    What is still going on, in files.
    """

    running: int
    queued: int
    waiting: int  #: for another attempt, which does not come while the drain lasts

    @property
    def drained(self) -> bool:
        return not self.running and not self.queued


@dataclass(frozen=True, slots=True, kw_only=True)
class AtWork:
    """
    Which files are being worked on at this moment.
    """

    running: Mapping[int, int | None]  #: by number, since when; None where that is not known
    held: bool  #: another attempt at a file does not come even if it is due


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """
    What rereading the configuration came to; by key such as `agent.pattern`, the value before and after.
    """

    changed: Mapping[str, tuple[object, object]]
    needs_restart: Mapping[str, tuple[object, object]]  #: not taken over
    warnings: Sequence[str]
    config_hash: str  #: of the configuration that is used from now on


class Administration(Protocol):
    """
    An agent, as an administrator deals with it; called from several threads.

    What changes something returns once it is durable, and raises `BusyError` where that takes too long.
    """

    @property
    def store_id(self) -> str:
        """
        What the ids of its files begin with.
        """

    @property
    def reader(self) -> Reader:
        """
        Of the store; with a deadline.
        """

    def at_work(self) -> AtWork: ...

    def retry(self, number: int, *, dry_run: bool) -> Retried: ...

    def pause(self, message: str) -> Pause | None:
        """
        Pause for the operator; return the pause that stood already, whose beginning is kept.
        """

    def resume(self) -> list[PauseReason]:
        """
        End the pauses that somebody asked for; return those that stood.
        """

    def pauses(self) -> Mapping[PauseReason, Pause]: ...

    def drain(self) -> Draining:
        """
        Pause for that reason, if that is not so yet; return what is still going on.
        """

    def stop(self) -> None:
        """
        Begin the end of the agent.
        """

    def reload(self, *, dry_run: bool) -> Reloaded: ...
