"""
The one thread that commits and moves: claim, outcome, filing, recovery.
"""

from __future__ import annotations
