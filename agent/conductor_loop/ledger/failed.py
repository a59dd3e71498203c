"""
What lies in failed/: whose it is, and the error log beside it.
"""

from __future__ import annotations

import contextlib
import os
import stat

from conductor_loop.ledger import naming, status
from conductor_loop.ledger.places import Places
from conductor_loop.model import Identity


def find(places: Places, target: str, id: str, identity: Identity) -> Identity | None:
    """
    Return what lies at `failed/<target>` if it still is the file `id`; None for nothing and for another file.

    Its error log says whose the file is, for an editor puts another inode under the same name, and an inode that was
    deleted is given to other files. Only where no error log is, the inode says it.
    """
    try:
        found = os.stat(target, dir_fd=places.failed_fd, follow_symlinks=False)
    except OSError:
        return None
    owner = status.error_log_id(places.failed_fd, naming.error_log_name(target, id))
    same = (found.st_dev, found.st_ino) == (identity.dev, identity.ino) if owner is None else owner == id
    return Identity.from_stat(found) if same and stat.S_ISREG(found.st_mode) else None


def remove_error_log(places: Places, target: str, id: str) -> None:
    """
    Remove the error log beside `failed/<target>` if it is that of the file `id`, which does not lie there.
    """
    name = naming.error_log_name(target, id)
    if status.error_log_id(places.failed_fd, name) == id:
        with contextlib.suppress(OSError):  # then it stays, and says itself what it is
            os.unlink(name, dir_fd=places.failed_fd)
