"""
conductor-loop: a directory as a reliable work queue.
"""

from __future__ import annotations

__version__ = "0.1.0"
