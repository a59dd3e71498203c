"""
What a request asks: the parts of its query, and the document in its body. Whatever is wrong in it is named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from conductor_loop.errors import NotFoundError, UsageError
from conductor_loop.ledger.candidates import unknown
from conductor_loop.model import Kind, Outcome, display_name
from conductor_loop.store.search import OPEN, FileFilter

MAX_LIMIT = 1000
_LIMIT = 50
_PARAMETERS = ("outcome", "kind", "name", "since", "until", "unresolved", "places", "limit", "before")
_MOST_PARTS = 100  # of a query
_LONGEST_NUMBER = 18  # digits; what the database can hold and more than it ever will
_ID = re.compile(r"(?:(?P<store>[0-9A-Za-z]+)-)?(?P<number>[0-9]+)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TYPES: Mapping[type, str] = {bool: "true or false", str: "a string"}


class FilesQuestion:
    """
    Which files are asked for, and how many of them.

    Args:
        query: the query string of the request.
        store_id: begins the ids of the files.

    Raises:
        UsageError: naming the parameter that is wrong.
        NotFoundError: `before` is a file of another store.
    """

    def __init__(self, query: str, *, store_id: str) -> None:
        given = _parameters(query)
        self.filter = FileFilter(
            outcomes=_words("outcome", given, (*Outcome, OPEN)),
            kinds=_words("kind", given, tuple(Kind)),
            name_glob=given.get("name"),
            since_at=_optional(given, "since", moment),
            until_at=_optional(given, "until", moment),
            unresolved=_is_true(given, "unresolved"),
        )
        self.places = _is_true(given, "places")  #: whether to say where each file is
        self.limit = _LIMIT if "limit" not in given else _limit(given["limit"])
        self.before = _optional(given, "before", lambda text, _: number_of(text, store_id=store_id))


def number_of(id: str, *, store_id: str) -> int:
    """
    Return the number in the id of a file, which may be the number alone.

    Raises:
        NotFoundError: it is an id of another store.
        UsageError: it is no id.
    """
    found = _ID.fullmatch(id)
    if found is None:
        raise UsageError(
            f"{display_name(id)!r} is no id of a file; ids are like {store_id}-123, or the number 123"
        )
    if found["store"] not in {None, store_id}:
        raise NotFoundError(f"there is no file {id}; the ids of this store begin with {store_id}-")
    if len(found["number"]) > _LONGEST_NUMBER:
        raise unknown(id)
    return int(found["number"])


def moment(text: str, name: str) -> int:
    """
    Return a moment in RFC 3339 as microseconds.

    Raises:
        UsageError: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return (found - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):  # one that is in another year by the time of UTC
        pass
    raise UsageError(f"{name}: {display_name(text)!r} is no time; write it as 2026-11-23T07:43:18Z")


def body(raw: bytes, allowed: Mapping[str, type]) -> dict[str, Any]:
    """
    Return the object in a request's body; no body at all is an empty one.

    Args:
        raw: what was sent.
        allowed: the keys there may be, and what their values must be.

    Raises:
        UsageError: naming what is wrong.
    """
    try:
        found = json.loads(raw or b"{}")
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the body is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError("the body must be a JSON object")
    for key, value in found.items():
        if key not in allowed:
            raise UsageError(f"{display_name(key)!r} is no key here; {_known(allowed)}")
        if type(value) is not allowed[key]:
            raise UsageError(f"{key} must be {_TYPES[allowed[key]]}")
    return found


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARTS)
    except ValueError as error:
        raise UsageError(f"the query cannot be read: {error}") from error
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in _PARAMETERS:
            raise UsageError(f"{display_name(name)!r} is no parameter here; {_known(_PARAMETERS)}")
        if name in given:
            raise UsageError(f"{name} is given twice; it may be given once, several values with commas")
        given[name] = value
    return given


def _words(name: str, given: Mapping[str, str], known: Collection[str]) -> frozenset[str]:
    words = given[name].split(",") if name in given else []
    for word in words:
        if word not in known:
            raise UsageError(f"{name}: {display_name(word)!r} is unknown; there are {', '.join(known)}")
    return frozenset(words)


def _optional(given: Mapping[str, str], name: str, parse: Callable[[str, str], int]) -> int | None:
    return parse(given[name], name) if name in given else None


def _is_true(given: Mapping[str, str], name: str) -> bool:
    value = given.get(name, "false")
    if value not in {"true", "false"}:
        raise UsageError(f"{name}: {display_name(value)!r} is neither true nor false")
    return value == "true"


def _limit(text: str) -> int:
    value = int(text) if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER else 0
    if not 1 <= value <= MAX_LIMIT:
        raise UsageError(f"limit: {display_name(text)!r} is no number from 1 to {MAX_LIMIT}")
    return value


def _known(names: Collection[str]) -> str:
    return f"there are {', '.join(names)}" if names else "there are none"
