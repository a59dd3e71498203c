"""
Single values out of a document, for hosts without jq.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import click

EVERY = "*"  #: stands for every element of a list
FIELD = "conductor_loop.field"  #: where a command's context keeps what `--field` asks for


class Field(NamedTuple):
    """
    What `--field` asks for.
    """

    name: str
    after_deed: bool  #: the command has changed something by the time that there is a document


def check(name: str, keys: Sequence[str]) -> None:
    """
    Make sure that a document may have such a value, before there is one.

    Args:
        name: as that of `pick`.
        keys: of the document, but for its version.

    Raises:
        click.BadParameter: if it cannot, naming the keys.
    """
    document = dict.fromkeys(("version", *keys))
    if _first_key(document, name) is None:
        raise _unknown(name, document)


def pick(document: Any, name: str) -> Iterator[str]:
    """
    Yield values as text: strings as they are, lists and tables as JSON.

    Args:
        name: keys and, for lists, numbers from 0 on or `*` for every element, with dots between; keys may have dots in
            them. Without a `*` it is one value.

    Raises:
        click.BadParameter: if there is no such value, naming what there is.
    """
    for value in _values(document, name, name):
        yield value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _values(value: Any, rest: str, name: str) -> Iterator[Any]:
    """
    Yield what `rest`, the end of `name`, means in a value.
    """
    if not rest and name:
        yield value
    elif isinstance(value, list) and rest.split(".", maxsplit=1)[0] == EVERY:
        for element in value:
            yield from _values(element, rest[len(EVERY) + 1 :], name)
    elif key := _first_key(value, rest):
        below = value[int(key)] if isinstance(value, list) else value[key]
        yield from _values(below, rest[len(key) + 1 :], name)
    else:
        raise _unknown(name, value)


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


def _unknown(name: str, value: Any) -> click.BadParameter:
    return click.BadParameter(f"nothing is called {name!r}; {_there(value)}", param_hint="--field")


def _there(value: Any) -> str:
    if isinstance(value, list):
        return f"this is a list of {len(value)}, the first is number 0" if value else "this is an empty list"
    return f"there are {', '.join(value)}" if isinstance(value, dict) and value else "this has no parts"
