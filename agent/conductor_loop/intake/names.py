"""
Which names are taken.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

#: Hidden files and the names under which editors, browsers and copying programs keep what is not finished.
NEVER_TAKEN = (
    ".*",
    "*.tmp",
    "*.part",
    "*.partial",
    "*.filepart",
    "*.crdownload",
    "*.swp",
    "*.swo",
    "*.swx",
    "*~",
    "~*",
    "#*#",
)


class NameFilter:
    """
    Decides by the name alone, case-sensitive; any name that a file system gives is allowed.

    Args:
        pattern: with `*`, `?` and `[...]`, as a shell has it; it must match the whole name.
        ignore: patterns of names that are not taken, besides `NEVER_TAKEN`.
    """

    def __init__(self, pattern: str, ignore: Sequence[str] = ()) -> None:
        self._wanted = re.compile(fnmatch.translate(pattern)).match
        self._ignored = re.compile("|".join(map(fnmatch.translate, (*NEVER_TAKEN, *ignore)))).match

    def accepts(self, name: str) -> bool:
        """
        Tell whether a file of this name is ours.
        """
        return self._wanted(name) is not None and self._ignored(name) is None
