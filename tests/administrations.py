"""
An agent to administer, of which a test says how it behaves; its store is a real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

import store_rows as rows
from conductor_loop.errors import ConductorError
from conductor_loop.http.administration import AtWork, Draining, Reloaded
from conductor_loop.metrics.snapshot import Pause
from conductor_loop.model import PauseReason
from conductor_loop.store.database import Store


@dataclass(frozen=True)
class Retried:
    id: str | None
    retry_of: int
    name: str
    path: Path


@dataclass
class MadeUpAdministration:
    """
    Notes what is asked of it.
    """

    store: Store
    asked: list[Any] = field(default_factory=list)
    error: ConductorError | None = None  #: raised by everything that changes something
    working: AtWork = field(default_factory=lambda: AtWork(running={}, held=False))
    draining: Draining = field(default_factory=lambda: Draining(running=0, queued=0, waiting=0))
    reloaded: Reloaded = field(
        default_factory=lambda: Reloaded(changed={}, needs_restart={}, warnings=(), config_hash="abc")
    )
    read_seconds: float = 5.0
    standing: dict[PauseReason, Pause] = field(default_factory=dict)

    @property
    def store_id(self) -> str:
        return self.store.store_id

    def reader(self) -> AbstractContextManager[Connection]:
        return self.store.reader(self.read_seconds)

    def at_work(self) -> AtWork:
        return self.working

    def retry(self, number: int, *, dry_run: bool) -> Retried:
        self._note("retry", number, dry_run)
        new = None if dry_run else f"{self.store_id}-99"
        return Retried(new, number, "a\udcff.json", Path("/var/failed/a\udcff.json"))

    def pause(self, message: str) -> Pause | None:
        self._note("pause", message)
        before = self.standing.get(PauseReason.OPERATOR)
        self.standing[PauseReason.OPERATOR] = Pause(rows.NOW, message)
        return before

    def resume(self) -> list[PauseReason]:
        self._note("resume")
        lifted = list(self.standing)
        self.standing.clear()
        return lifted

    def pauses(self) -> Mapping[PauseReason, Pause]:
        return self.standing

    def drain(self) -> Draining:
        self._note("drain")
        self.standing[PauseReason.DRAIN] = Pause(rows.NOW, "for maintenance")
        return self.draining

    def stop(self) -> None:
        self._note("stop")

    def reload(self, *, dry_run: bool) -> Reloaded:
        self._note("reload", dry_run)
        return self.reloaded

    def _note(self, *what: object) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error
