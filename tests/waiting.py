"""
Waiting for a condition with a deadline, instead of sleeping and hoping.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout: float = 10.0, *, step: float = 0.01) -> T:
    """
    Return the first true value of `condition`, asked every `step` seconds.

    Raises:
        AssertionError: if `timeout` seconds pass without one.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(
                f"waited {timeout:g}s in vain for {getattr(condition, '__name__', condition)}"
            )
        time.sleep(step)
