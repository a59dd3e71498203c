"""
One value out of a document, for hosts without jq.
"""

from __future__ import annotations

import json
from typing import Any

import click

FIELD = "conductor_loop.field"  #: where a command's context keeps what `--field` asks for


def pick(document: Any, name: str) -> str:
    """
    Return one value as text: a string as it is, lists and tables as JSON.

    Args:
        name: keys and, for lists, numbers from 0 on, with dots between; keys may have dots in them.

    Raises:
        click.BadParameter: if there is no such value, naming what there is.
    """
    rest, value = name, document
    while rest:
        key = _first_key(value, rest)
        if key is None:
            raise click.BadParameter(f"nothing is called {name!r}; {_there(value)}", param_hint="--field")
        value = value[int(key)] if isinstance(value, list) else value[key]
        rest = rest[len(key) + 1 :]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _first_key(value: Any, rest: str) -> str | None:
    """
    Return the longest key that `rest` begins with, or None.
    """
    fitting = [key for key in _keys(value) if rest == key or rest.startswith(f"{key}.")]
    return max(fitting, key=len, default=None)


def _keys(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(number) for number in range(len(value))]
    return list(value) if isinstance(value, dict) else []


def _there(value: Any) -> str:
    if isinstance(value, list):
        return f"this is a list of {len(value)}, the first is number 0" if value else "this is an empty list"
    return f"there are {', '.join(value)}" if isinstance(value, dict) and value else "this has no parts"
