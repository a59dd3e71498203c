"""
When a file is ready: the decision alone, with the clocks and the question to the kernel given to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from conductor_loop.clock import SECOND
from conductor_loop.model import FoundBy, Identity

FIRST_LOOK_AGAIN = 0.02  #: seconds; doubled every time while a writer has the file, or the ledger a namesake
LONGEST_LOOK_AGAIN = 1.0  #: seconds


@dataclass(slots=True)
class Candidate:
    """
    What is known of a name that may become ready.
    """

    found_by: FoundBy
    discovered_at: int
    renamed_in: bool = False
    identity: Identity | None = None  #: as last seen
    unchanged_since: float = 0.0  #: monotonic; when it was first seen so
    written_since: float | None = None  #: monotonic; since when it has not been ready because of a writer
    look_again: float = 0.0  #: seconds of the last such wait
    due: float | None = None  #: monotonic; when it is looked at again, if it waits
    ripe: bool = False  #: nothing but its turn is missing


@dataclass(frozen=True, slots=True)
class Ready:
    """
    Nobody writes to it.
    """


@dataclass(frozen=True, slots=True)
class Wait:
    """
    Too early; look again then.
    """

    until: float  #: monotonic


READY = Ready()


class Settler:
    """
    Decides by what a file looks like now and looked like before.

    Args:
        settle: seconds for which a file that was written in place must be unchanged.
        observe: trust no time stamps, only what was seen: a network file system has another clock than ours.
        writer_has: tells of a name whether somebody has it open for writing, None if that cannot be told.
    """

    def __init__(self, *, settle: float, observe: bool, writer_has: Callable[[str], bool | None]) -> None:
        self.settle = settle
        self.observe = observe
        self._writer_has = writer_has

    def time_left(self, candidate: Candidate, identity: Identity, *, now: float, wall_us: int) -> float:
        """
        Note what the file looks like and return for how many seconds, by time alone, it is too early.

        Args:
            now: by the monotonic clock.
            wall_us: by the wall clock.
        """
        if identity != candidate.identity:
            if candidate.identity is not None:
                candidate.renamed_in = False  # somebody writes to it after all
            candidate.identity = identity
            candidate.unchanged_since = now
        if candidate.renamed_in:
            return 0.0
        age = (wall_us - identity.ctime_ns // 1000) / SECOND
        if self.observe or age < 0:  # changed in the future: the clock was set back
            age = now - candidate.unchanged_since
        return max(0.0, self.settle - age)

    def judge(
        self, name: str, candidate: Candidate, identity: Identity, *, now: float, wall_us: int
    ) -> Ready | Wait:
        """
        Decide whether the file can be taken at this moment.

        Raises:
            FileNotFoundError: if it is gone.
        """
        left = self.time_left(candidate, identity, now=now, wall_us=wall_us)
        if left > 0:
            return Wait(now + left)
        if self._writer_has(name):
            candidate.renamed_in = False
            return Wait(now + next_look(candidate))
        return READY


def next_look(candidate: Candidate) -> float:
    """
    Return the seconds until a candidate is looked at again for which there is no better moment; they grow.
    """
    candidate.look_again = min(max(FIRST_LOOK_AGAIN, 2 * candidate.look_again), LONGEST_LOOK_AGAIN)
    return candidate.look_again
