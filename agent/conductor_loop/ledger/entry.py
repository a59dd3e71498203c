"""
The ledger's memory of one file that is not filed yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from conductor_loop.ledger.places import Places, in_slot
from conductor_loop.model import Author, Identity, Job, Kind, Outcome


@dataclass(slots=True, kw_only=True)
class Ending:
    """
    Everything that filing needs; the row holds the same.
    """

    outcome: Outcome
    kind: Kind | None
    message: str
    finished_at: int
    attempts: int
    exit_code: int | None = None
    duration: float | None = None
    sha256: str = ""
    output: bytes = b""
    author: Author | None = None  #: None: whoever files it
    target: str = ""  #: name in processed/ or failed/
    status_name: str = ""
    status_turn: int = 1


@dataclass(slots=True, kw_only=True)
class Entry:
    """
    A claimed file, from its row to its filed mark; touched by the ledger thread alone.
    """

    number: int
    id: str
    name: str
    places: Places  #: those it was claimed in; they outlive a replaced handoff directory
    agent: str  #: whose slot it is in; another name than ours after the agent was renamed
    slot: int
    identity: Identity
    discovered_at: int
    claimed_at: int
    attempts: int = 0
    interruptions: int = 0
    first_started_at: int | None = None
    retry_of: int | None = None  #: number of the file that it was, before it was tried again
    retry_target: str = ""  #: name in failed/ of that one
    ending: Ending | None = field(default=None)

    @property
    def relative(self) -> str:
        """
        Where it is, below the work directory.
        """
        return in_slot(self.agent, self.slot, self.name)

    @property
    def source(self) -> tuple[int, str]:
        """
        Where it is claimed from: descriptor of a directory and name in it.
        """
        if self.retry_of is None:
            return self.places.handoff_fd, self.name
        return self.places.failed_fd, self.retry_target

    def job(self) -> Job:
        """
        Return the next attempt at it.
        """
        return Job(
            number=self.number,
            id=self.id,
            name=self.name,
            slot=self.slot,
            dir_fd=self.places.work_fd,
            relative=self.relative,
            attempt=self.attempts + 1,
            discovered_at=self.discovered_at,
            claimed_at=self.claimed_at,
            unchanged_since=max(self.identity.ctime_ns, self.identity.mtime_ns) // 1000,
            interruptions=self.interruptions,
            retry=self.retry_of is not None,
        )

    def started(self, at: int) -> None:
        """
        Note a run; the first one ends the file's wait.
        """
        if self.first_started_at is None:
            self.first_started_at = at

    def release(self) -> None:
        """
        Give its slot free.
        """
        if self.agent == self.places.agent:
            self.places.slots.release(self.slot)
