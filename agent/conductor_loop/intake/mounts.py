"""
On what kind of file system a directory is: where another machine may write, inotify hears nothing.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")

_NETWORK = {
    "9p",
    "afs",
    "ceph",
    "cifs",
    "coda",
    "fuse",
    "gfs2",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "prl_fs",
    "smb2",
    "smb3",
    "smbfs",
    "vboxsf",
    "virtiofs",
    "vmhgfs",
}


def is_network(fstype: str) -> bool:
    """
    Tell whether files can come to a file system of this type without the kernel of this machine knowing.
    """
    return fstype in _NETWORK or fstype.startswith("fuse.")


def fstype_of(path: Path) -> str:
    """
    Return the type of the file system that holds `path`; empty if it cannot be found out.
    """
    try:
        return fstype_in(MOUNTINFO.read_bytes(), os.path.realpath(path))
    except OSError:
        return ""


def fstype_in(mountinfo: bytes, path: str) -> str:
    """
    Return the type of the file system that holds `path` (no symlink in it) by the text of `mountinfo`.
    """
    wanted = os.fsencode(path)
    best, found = b"", b""
    for line in mountinfo.splitlines():
        head, separator, tail = line.partition(b" - ")
        fields = head.split(b" ")
        if not separator or len(fields) < 5:  # noqa: PLR2004 - the mount point is the fifth field
            continue
        point = _unescaped(fields[4])
        # The last of equals: a later mount hides an earlier one on the same point.
        if len(point) >= len(best) and _is_below(wanted, point):
            best, found = point, tail.split(b" ")[0]
    return os.fsdecode(found)


def _is_below(path: bytes, point: bytes) -> bool:
    return path == point or path.startswith(point.rstrip(b"/") + b"/")


def _unescaped(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), field)
