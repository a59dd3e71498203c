"""
The question whether anybody has a file open for writing, answered by the kernel.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


def writer_has(fd: int) -> bool | None:
    """
    Tell whether any process has the file open for writing.

    A read lease is refused while a writer has the file open. A writer that comes while we hold it waits for its
    end, a few microseconds later.

    Args:
        fd: opened for reading only.

    Returns:
        None where it cannot be told: the file of another user, or a file system without leases.
    """
    held = _take_lease(fd)
    if held is False:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return held


def writer_has_at(dir_fd: int, name: str) -> bool | None:
    """
    Tell the same of `name` in a directory; opens it without following a symlink or waiting on a FIFO.

    Returns:
        None where it cannot be told, also because the file may not be opened.

    Raises:
        FileNotFoundError: if it is gone.
    """
    try:
        fd = os.open(name, _READ, dir_fd=dir_fd)
    except FileNotFoundError:
        raise
    except OSError:
        return None
    try:
        return _take_lease(fd)
    finally:
        os.close(fd)  # and with it the lease


def _take_lease(fd: int) -> bool | None:
    try:
        # First the signal: by default the kernel tells a lease holder of a writer with SIGIO, which kills.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    return False
