"""
One pass over the handoff directory: the truth that events only hint at.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable
from dataclasses import dataclass, field

MOST_FILES = 50_000  #: about 9 MB; the directory itself is the queue for the others
CHUNK = 1_000  #: entries, about 5 ms
REGULAR_SHARE = 50  #: passes take 1 / 50 of the time at most,
ASKED_SHARE = 2  #: or a third where names were lost or more files are needed


@dataclass(slots=True)
class Found:
    """
    What a pass has found so far.
    """

    files: int = 0  #: matching regular files
    ignored: int = 0  #: entries that match and are no regular files
    truncated: bool = False  #: there are more matching files than were kept
    #: (-ctime_ns, name); sorted at the end, the newest first.
    oldest: list[tuple[int, str]] = field(default_factory=list)


class Scan:
    """
    A pass that stops after every chunk.

    Args:
        dir_fd: the directory.
        accepts: tells of a name whether it is ours.
        most: how many files are kept, the oldest by ctime.
        chunk: entries in a step.

    Raises:
        OSError: if the directory cannot be read.
    """

    def __init__(
        self, dir_fd: int, accepts: Callable[[str], bool], *, most: int = MOST_FILES, chunk: int = CHUNK
    ) -> None:
        self.found = Found()
        self._accepts = accepts
        self._most = most
        self._chunk = chunk
        # A description of our own: the reading position belongs to it, and another reader of the same one would
        # take entries away from us.
        self._fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            self._entries = os.scandir(self._fd)
        except OSError:
            os.close(self._fd)
            raise

    def step(self) -> bool:
        """
        Read one chunk; tell whether there may be more.

        Raises:
            OSError: if the directory cannot be read any more.
        """
        for _ in range(self._chunk):
            entry = next(self._entries, None)
            if entry is None:
                self.found.oldest.sort()
                return False
            if self._accepts(entry.name):
                self._note(entry)
        return True

    def close(self) -> None:
        """
        Let the directory go; safe to call twice.
        """
        self._entries.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _note(self, entry: os.DirEntry[str]) -> None:
        if not entry.is_file(follow_symlinks=False):
            self.found.ignored += 1
            return
        try:
            seen = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return  # taken since
        self.found.files += 1
        self._keep((-seen.st_ctime_ns, entry.name))

    def _keep(self, file: tuple[int, str]) -> None:
        # A heap with the newest kept file on top, which has to go for an older one.
        if len(self.found.oldest) < self._most:
            heapq.heappush(self.found.oldest, file)
        else:
            self.found.truncated = True
            heapq.heappushpop(self.found.oldest, file)


class Schedule:
    """
    Says when the next pass is due.

    Args:
        interval: seconds from the end of one to the beginning of the next, unless that takes too much of the time.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._wanted = True
        self._regular = self._earliest = 0.0

    def ask(self) -> None:
        """
        Say that the next one must not wait for its turn.
        """
        self._wanted = True

    def begin(self) -> None:
        """
        Say that one begins; who asks from now on asks for the next.
        """
        self._wanted = False

    def end(self, now: float, busy: float) -> None:
        """
        Say that it ended.

        Args:
            now: by the monotonic clock.
            busy: seconds that it took, without the work in between.
        """
        self._regular = now + max(self.interval, REGULAR_SHARE * busy)
        self._earliest = now + ASKED_SHARE * busy

    @property
    def due(self) -> float:
        """
        The moment of the next pass by the monotonic clock.
        """
        return self._earliest if self._wanted else self._regular
