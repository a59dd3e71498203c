"""
JSON as the standard has it: one document, UTF-8, no key twice, no NaN, no endless nesting.
"""

from __future__ import annotations

import codecs
import json
from typing import Any, NoReturn

from conductor_loop.model import Kind

_NAME_LENGTH = 100  #: characters of a key that a message shows; the key may be as long as the file


class NotJsonError(Exception):
    """
    Bytes that are not acceptable as JSON.

    Args:
        kind: which rule they break.
        message: one line for the person who wrote them.
    """

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def parse(data: bytes, *, max_depth: int) -> Any:
    """
    Return the document in `data`.

    Raises:
        NotJsonError: it is not exactly one acceptable document.
    """
    text = _decode(data)
    try:
        document = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise NotJsonError(Kind.INVALID_JSON, f"{error.msg} at {where}") from None
    except RecursionError:
        raise _too_deep(max_depth) from None
    except ValueError as error:  # a number that Python refuses to read; JSONDecodeError is one too, see above
        raise NotJsonError(Kind.INVALID_JSON, str(error)) from None
    if text.count("{") + text.count("[") > max_depth:  # few documents have that many to nest
        _check_depth(document, max_depth)
    _check_surrogates(text, document)
    return document


def _decode(data: bytes) -> str:
    if data.startswith(codecs.BOM_UTF8):
        raise NotJsonError(
            Kind.INVALID_JSON, "begins with a byte order mark; save it as UTF-8 without a signature"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        # Half a character at the end is what a file looks like that is still being written: not final yet.
        if error.reason == "unexpected end of data":
            raise NotJsonError(Kind.INVALID_JSON, "ends in the middle of a character") from None
        raise NotJsonError(
            Kind.NOT_UTF8, f"{error.reason} at byte {error.start}; UTF-8 is expected"
        ) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise NotJsonError(
                    Kind.DUPLICATE_KEY, f"key {key[:_NAME_LENGTH]!r} stands twice in one object"
                )
            seen.add(key)
    return found


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise NotJsonError(Kind.INVALID_JSON, f"number {text[:_NAME_LENGTH]} is out of range")
    return number


def _constant(name: str) -> NoReturn:
    raise NotJsonError(Kind.INVALID_JSON, f"{name} is no JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)


def _check_depth(document: Any, max_depth: int) -> None:
    level = _containers([document])
    for _ in range(max_depth):
        if not level:
            return
        level = [inner for node in level for inner in _containers(node)]
    if level:
        raise _too_deep(max_depth)


def _containers(node: dict[str, Any] | list[Any]) -> list[dict[str, Any] | list[Any]]:
    children = node.values() if isinstance(node, dict) else node
    return [child for child in children if isinstance(child, dict | list)]


def _too_deep(max_depth: int) -> NotJsonError:
    return NotJsonError(Kind.TOO_DEEP, f"objects and lists are nested more than {max_depth} deep")


def _check_surrogates(text: str, document: Any) -> None:
    # Only an escape can bring a surrogate in, and few documents have one; paired ones are characters by now.
    if "\\ud" not in text and "\\uD" not in text:
        return
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise NotJsonError(Kind.INVALID_JSON, "holds half of a surrogate pair (\\ud800 to \\udfff)") from None
