"""
The processor of the python case: what remains of a file's cost is the agent's.
"""

from __future__ import annotations


def handle(file: object) -> None:
    """
    Accept the file.
    """
