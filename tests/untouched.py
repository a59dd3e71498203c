"""
Whether anything below a directory was made, removed or changed.
"""

from __future__ import annotations

import os
from pathlib import Path

Picture = dict[str, tuple[int, int, int, int]]


def picture(root: Path) -> Picture:
    """
    Return mode, size, inode and time of modification of everything below `root`.

    Not the ctime: where root opens a database, SQLite gives its log and index to the database's owner, who has them.
    """
    found = {}
    for folder, folders, files in os.walk(root):
        for name in [".", *folders, *files]:
            path = os.path.join(folder, name)
            seen = os.lstat(path)
            found[path] = (seen.st_mode, seen.st_size, seen.st_ino, seen.st_mtime_ns)
    return found
