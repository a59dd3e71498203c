"""
Keys as keyword arguments of a program that the agent is embedded in: `max_workers=8`, `timeout=30`.
"""

from __future__ import annotations

import difflib
import math
import os
from collections import Counter
from collections.abc import Mapping
from typing import TypeGuard

from conductor_loop.config.settings import KEYS, Key
from conductor_loop.config.units import format_duration

_HOW_MANY = Counter(key.name for key in KEYS.values())

#: Keyword -> key. A name that several sections share stands here only with its section: `history_max_bytes`.
ARGUMENTS: Mapping[str, Key] = {
    key.name if _HOW_MANY[key.name] == 1 else f"{key.section}_{key.name}": key for key in KEYS.values()
}


def as_toml(arguments: Mapping[str, object]) -> dict[str, object]:
    """
    Return keyword arguments with values as a TOML file has them: paths as text, seconds with their unit.

    Raises:
        TypeError: for a keyword that is none.
    """
    return {name: _as_toml(_key_of(name), value) for name, value in arguments.items()}


def _key_of(name: str) -> Key:
    key = ARGUMENTS.get(name)
    if key is None:
        raise TypeError(f"there is no setting {name!r}; {_hint(name)}")
    return key


def _hint(name: str) -> str:
    shared = [keyword for keyword, key in ARGUMENTS.items() if key.name == name]
    close = shared or difflib.get_close_matches(name, ARGUMENTS, n=1, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"there are {', '.join(sorted(ARGUMENTS))}"


def _as_toml(key: Key, value: object) -> object:
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, (list, tuple)):
        return [_as_toml(key, item) for item in value]
    if key.form.name == "duration" and _is_length(value):
        return format_duration(float(value))
    return value


def _is_length(value: object) -> TypeGuard[float]:
    """
    Tell whether this is a number that can be a duration; any other is left for the key's own complaint.
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
