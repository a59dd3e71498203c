"""
The agent on a machine whose clock is set back: `clock_set_back.py SIGN ARGUMENT...` runs it with the ARGUMENTs, and
takes an hour off the wall clock from the moment when the file SIGN is there.
"""

from __future__ import annotations

import os
import sys

from conductor_loop import clock
from conductor_loop.cli import main

HOUR_US = 3600 * clock.SECOND


def set_back(sign: str) -> None:
    """
    Put another clock in place of the real one.
    """
    real = clock.now_us
    clock.now_us = lambda: real() - HOUR_US if os.path.exists(sign) else real()


if __name__ == "__main__":
    set_back(sys.argv.pop(1))
    sys.exit(main())
