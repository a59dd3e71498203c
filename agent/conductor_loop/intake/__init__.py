"""
Which files are ready: hints, the scan that is the truth, and settling. Moves nothing.
"""

from __future__ import annotations
