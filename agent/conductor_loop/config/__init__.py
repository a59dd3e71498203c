"""
The configuration: frozen values out of defaults, a TOML file, the environment and flags.

The only place that reads the environment, and nothing is read when this is imported.
"""

from __future__ import annotations

from conductor_loop.config.arguments import ARGUMENTS, as_toml
from conductor_loop.config.loader import (
    Loaded,
    as_written,
    check_arguments,
    config_hash,
    environ,
    load,
    merge,
    read_document,
)
from conductor_loop.config.salvage import salvage
from conductor_loop.config.settings import (
    KEYS,
    LOG_LEVELS,
    LONGEST_SOCKET_PATH,
    SECTIONS,
    Admin,
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
    admin_socket,
)
from conductor_loop.config.units import parse_duration

__all__ = [
    "ARGUMENTS",
    "KEYS",
    "LOG_LEVELS",
    "LONGEST_SOCKET_PATH",
    "SECTIONS",
    "Admin",
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
    "admin_socket",
    "as_toml",
    "as_written",
    "check_arguments",
    "config_hash",
    "environ",
    "load",
    "merge",
    "parse_duration",
    "read_document",
    "salvage",
]
