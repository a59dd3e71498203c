"""
The machine: the agent's own resources and free disk space.
"""

from __future__ import annotations
