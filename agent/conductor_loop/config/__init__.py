"""
The configuration: frozen values out of defaults, a TOML file, the environment and flags.

The only place that reads the environment, and nothing is read when this is imported.
"""

from __future__ import annotations

from conductor_loop.config.loader import Loaded, as_written, config_hash, environ, load, merge
from conductor_loop.config.settings import (
    KEYS,
    LOG_LEVELS,
    SECTIONS,
    Agent,
    Config,
    Files,
    History,
    Http,
    Key,
    Log,
    Processor,
    Retry,
    Store,
    Validation,
)
from conductor_loop.config.units import parse_duration

__all__ = [
    "KEYS",
    "LOG_LEVELS",
    "SECTIONS",
    "Agent",
    "Config",
    "Files",
    "History",
    "Http",
    "Key",
    "Loaded",
    "Log",
    "Processor",
    "Retry",
    "Store",
    "Validation",
    "as_written",
    "config_hash",
    "environ",
    "load",
    "merge",
    "parse_duration",
]
