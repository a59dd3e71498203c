"""
A process without a free descriptor.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def descriptors_limited_to(count: int) -> Iterator[None]:
    """
    Let this process have so many descriptors.
    """
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """
    Let every attempt to open something fail, until something is closed.
    """
    lowest_free = os.dup(0)
    os.close(lowest_free)
    with descriptors_limited_to(lowest_free):
        yield
