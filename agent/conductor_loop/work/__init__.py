"""
Workers: run one file and report what came of it. They never move files and never touch the store.
"""

from __future__ import annotations
