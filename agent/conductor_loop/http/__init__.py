"""
The agent's door for browsers, scripts and Prometheus.
"""

from __future__ import annotations
