"""
What a configuration with mistakes still says: where the agent that was started with it is to be asked.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from conductor_loop.config.loader import merge
from conductor_loop.config.settings import KEYS, Config
from conductor_loop.errors import ConfigError

_WANTED = {"agent": "state_dir", "admin": "socket"}
_VARIABLES = [KEYS[f"{section}.{name}"].variable for section, name in _WANTED.items()]


def salvage(
    path: Path | None, *, environ: Mapping[str, str], defaults: Mapping[str, object]
) -> Config | None:
    """
    Return a configuration of which only state directory and admin socket mean anything.

    Args:
        path, environ, defaults: as those of `load`.

    Returns:
        None if it cannot be told where the socket is.
    """
    document, whole = _read(path) if path else ({}, True)
    given = {variable: environ[variable] for variable in _VARIABLES if variable in environ}
    if not (whole or document or given or defaults):
        return None  # what cannot be read may name it
    try:
        return merge(document, path=path, environ=given, flags={}, defaults=defaults).config
    except ConfigError:
        return None


def _read(path: Path) -> tuple[dict[str, object], bool]:
    """
    Return what can be read of a file, and whether that is all of it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except (OSError, ValueError):
        return {}, False
    lines = text.splitlines(keepends=True)
    document = _parse(lines)
    whole = document is not None
    while document is None:
        document = _parse(lines)
    return _only_wanted(document), whole


def _parse(lines: list[str]) -> dict[str, object] | None:
    """
    Return the tables; None if there is a mistake, from whose line on `lines` are removed then.
    """
    try:
        return tomllib.loads("".join(lines))
    except (ValueError, RecursionError) as error:
        found = re.search(r"at line (\d+)", str(error))
        last = min(int(found[1]), len(lines)) if found else len(lines)
        del lines[last - 1 :]
        return None


def _only_wanted(document: Mapping[str, object]) -> dict[str, object]:
    return {
        section: {name: table[name]}
        for section, name in _WANTED.items()
        if isinstance(table := document.get(section), dict) and name in table
    }
