"""
The size of the handoff directory, found without haste: it may hold a million files.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator

from conductor_loop.runtime.service import ThreadService

_WORK_SECONDS = 0.01
_REST_SECONDS = 0.4  # about 2.5 % of one core while a pass runs, whatever the directory holds
_PAUSE_SECONDS = 10.0  # between two passes


class DirectorySize(ThreadService):
    """
    Sums the regular files directly in a directory, pass after pass.

    Args:
        directory: returns a descriptor of the directory, or None while it is missing.
        found: called with the bytes that a complete pass has found.
    """

    def __init__(
        self,
        directory: Callable[[], int | None],
        found: Callable[[int], None],
        *,
        pause_seconds: float = _PAUSE_SECONDS,
    ) -> None:
        super().__init__("directory-size", self._walk)
        self._directory = directory
        self._found = found
        self._pause_seconds = pause_seconds

    def _walk(self, stop: threading.Event) -> None:
        while not stop.is_set():
            size = self._pass(stop)
            if size is not None:
                self._found(size)
            stop.wait(self._pause_seconds)

    def _pass(self, stop: threading.Event) -> int | None:
        """
        Return the size, or None if it could not be told.
        """
        total = 0
        rest_at = time.monotonic() + _WORK_SECONDS
        try:
            for size in self._sizes():
                total += size
                if time.monotonic() >= rest_at:
                    if stop.wait(_REST_SECONDS):
                        return None
                    rest_at = time.monotonic() + _WORK_SECONDS
        except OSError:
            return None  # the directory went away or may not be read; intake says so
        return total

    def _sizes(self) -> Iterator[int]:
        """
        Yield one size per entry, 0 for what is no regular file.
        """
        directory = self._directory()
        if directory is None:
            raise FileNotFoundError
        # A descriptor of our own: one that is shared would share its place in the listing with others.
        own = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            with os.scandir(own) as entries:
                for entry in entries:
                    yield _size(entry)
        finally:
            os.close(own)


def _size(entry: os.DirEntry[str]) -> int:
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return 0  # moved out meanwhile
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
