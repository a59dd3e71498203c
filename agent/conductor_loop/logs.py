"""
Logging: one line per fact on stderr, in time, level, thread and words.
"""

from __future__ import annotations

import logging
import sys
import time


def setup(level: str = "info") -> None:
    """
    Send the program's log to stderr.

    Args:
        level: "debug", "info", "warning" or "error".
    """
    # Time as in the lines about files, which may go to the same terminal.
    lines = logging.Formatter("%(asctime)s %(levelname)-7s %(threadName)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    lines.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(lines)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)


def set_level(level: str) -> None:
    """
    Show from now on the lines of this level and of those above it.
    """
    logging.getLogger().setLevel(level.upper())
