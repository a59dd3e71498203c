"""
Processors: what is done with a file, as the rest of the workers sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from conductor_loop.model import Blocked, Interrupted, Kind, Run, Succeeded
from conductor_loop.runtime.deadline import Deadline

Spawned = Callable[
    [int, int | None], None
]  #: called with pid and start time right after a process was started


class File(NamedTuple):
    """
    One file, as a processor gets it.
    """

    path: Path  #: where it lies while it is being processed
    name: str
    id: str  #: never used again for another file; the same for each attempt
    attempt: int  #: 1 for the first
    sha256: str  #: of the content that was validated
    data: Any  #: the parsed JSON; the bytes themselves where no schema is asked for
    deadline: Deadline  #: by which the processor should be done


@dataclass(frozen=True, slots=True)
class Failure:
    """
    The attempt failed; whether there is another one is decided by the retry policy.
    """

    kind: Kind
    message: str
    asked: bool = False  #: the processor asked for another attempt
    asked_delay: float | None = None  #: seconds until then; None leaves it to the policy


class Result(NamedTuple):
    """
    What came of one run.
    """

    ending: Succeeded | Failure | Blocked | Interrupted
    run: Run | None = None  #: None where nothing could be started


class Processor(Protocol):
    """
    Runs one file at a time per calling thread; may be called from several threads at once.
    """

    @property
    def timeout(self) -> float:
        """
        Seconds that one run may take.
        """

    @property
    def cooperative(self) -> bool:
        """
        Tell whether a run that is late cannot be ended from outside.
        """

    def run(self, file: File, spawned: Spawned) -> Result:
        """
        Process `file`; whatever goes wrong with it is a result, never an exception.
        """
