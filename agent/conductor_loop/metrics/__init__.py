"""
The live numbers and their renderings.
"""

from __future__ import annotations
