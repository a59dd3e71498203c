"""
Threads, their owner and their end; knows nothing of files.
"""

from __future__ import annotations
