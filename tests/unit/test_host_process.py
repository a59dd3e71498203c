"""
Tests of looking at other processes.
"""

from __future__ import annotations

import os
from pathlib import Path

from conductor_loop.host.process import command_name


def test_a_process_is_known_by_its_command() -> None:
    """
    As the kernel tells it.
    """
    assert command_name(os.getpid()) == Path("/proc/self/comm").read_text().strip()


def test_a_process_that_is_gone_has_no_name() -> None:
    """
    A number beyond all that there can be.
    """
    assert command_name(2**22 + 1) == "?"
