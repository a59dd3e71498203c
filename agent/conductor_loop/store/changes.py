"""
What one commit writes, as plain values.

Names are str as os.fsdecode gives them; moments and durations are whole microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from conductor_loop.model import Cause, FoundBy, Identity, Kind, Outcome, Sample


class ClaimRow(NamedTuple):
    """
    A new file. A row with this number that is there already stays as it is.
    """

    number: int
    name: str
    agent: str
    slot: int
    identity: Identity
    found_by: FoundBy
    discovered_at: int
    claimed_at: int
    retry_of: int | None = None


class IdentityRow(NamedTuple):
    """
    What the file turned out to be once it was in its slot, where that differs from what was offered.
    """

    number: int
    identity: Identity


class WaitRow(NamedTuple):
    """
    Counters of an open file and when it is run again; None: as soon as a worker is free.
    """

    number: int
    attempts: int
    interruptions: int
    next_attempt_at: int | None


class AttemptRow(NamedTuple):
    """
    One run of the processor. A row with this number and attempt that is there already stays as it is.
    """

    number: int
    attempt: int
    started_at: int
    duration_us: int
    exit_code: int | None = None
    signal: int | None = None
    kind: Kind | None = None
    message: str = ""
    output: bytes = b""
    output_bytes: int = 0
    survivors: int = 0


class InterruptionRow(NamedTuple):
    """
    A run that was cut off. A row with this number and start that is there already stays as it is.
    """

    number: int
    started_at: int
    found_at: int  #: when somebody knew of it
    cause: Cause


class EndRow(NamedTuple):
    """
    How a file ended, and under which names it is about to be filed.
    """

    number: int
    outcome: Outcome
    kind: Kind | None
    message: str
    finished_at: int
    attempts: int
    size: int  #: bytes
    exit_code: int | None = None
    duration_us: int | None = None
    wait_us: int | None = None
    sha256: str | None = None
    target: str | None = None
    status_name: str | None = None


class TargetRow(NamedTuple):
    """
    Other names than those the outcome was given, because somebody has taken one since.
    """

    number: int
    target: str
    status_name: str


class FiledRow(NamedTuple):
    """
    The file is where it belongs; the row is closed.
    """

    number: int
    filed_at: int


@dataclass(slots=True)
class Changes:
    """
    Everything that one transaction writes. Writing it twice is the same as writing it once.
    """

    claims: list[ClaimRow] = field(default_factory=list)
    identities: list[IdentityRow] = field(default_factory=list)
    waits: list[WaitRow] = field(default_factory=list)
    attempts: list[AttemptRow] = field(default_factory=list)
    interruptions: list[InterruptionRow] = field(default_factory=list)
    ends: list[EndRow] = field(default_factory=list)
    targets: list[TargetRow] = field(default_factory=list)
    filed: list[FiledRow] = field(default_factory=list)
    totals: dict[tuple[str, str], int] = field(default_factory=dict)  #: (metric, label) -> absolute value
    samples: list[Sample] = field(default_factory=list)
    #: reason -> (since, message), or None where the pause is over
    pauses: dict[str, tuple[int, str] | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(
            self.claims
            or self.identities
            or self.waits
            or self.attempts
            or self.interruptions
            or self.ends
            or self.targets
            or self.filed
            or self.totals
            or self.samples
            or self.pauses
        )
