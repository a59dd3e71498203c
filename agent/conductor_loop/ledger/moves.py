"""
Moves that never overwrite, and the flush that makes them last.
"""

from __future__ import annotations

import ctypes
import errno
import os

_RENAME_NOREPLACE = 1
_libc = ctypes.CDLL(None, use_errno=True)


def rename_noreplace(source_fd: int, source: str, target_fd: int, target: str) -> bool:
    """
    Rename `source` below `source_fd` to `target` below `target_fd`, unless that exists.

    Returns:
        Whether it was one step; a file system without the flag takes two, a link and an unlink.

    Raises:
        FileExistsError: if the target exists; nothing was moved.
        OSError: as rename(2).
    """
    number = _renameat2(source_fd, source, target_fd, target)
    if number in {errno.EINVAL, errno.ENOSYS}:
        # Never overwrites either; in between the file has two names.
        _link_once(source_fd, source, target_fd, target)
        os.unlink(source, dir_fd=source_fd)
        return False
    if number:
        raise OSError(number, os.strerror(number), source, None, target)
    return True


def _link_once(source_fd: int, source: str, target_fd: int, target: str) -> None:
    try:
        os.link(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
    except FileExistsError:
        # Fine if it is our own doing: a move that was cut short between its two halves.
        ours = os.stat(source, dir_fd=source_fd, follow_symlinks=False)
        if not os.path.samestat(ours, os.stat(target, dir_fd=target_fd, follow_symlinks=False)):
            raise


def _renameat2(source_fd: int, source: str, target_fd: int, target: str) -> int:
    result = _libc.renameat2(
        source_fd, os.fsencode(source), target_fd, os.fsencode(target), _RENAME_NOREPLACE
    )
    return ctypes.get_errno() if result else 0


def syncfs(fd: int) -> None:
    """
    Make everything written to the file system that holds `fd` last through power loss; may take seconds.

    Raises:
        OSError: if the file system could not write.
    """
    if _libc.syncfs(fd):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
