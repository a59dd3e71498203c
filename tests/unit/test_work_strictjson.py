from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor_loop.model import Kind
from conductor_loop.work import strictjson

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def refused(data: bytes, *, max_depth: int = 100) -> strictjson.NotJsonError:
    with pytest.raises(strictjson.NotJsonError) as caught:
        strictjson.parse(data, max_depth=max_depth)
    return caught.value


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b'{"a": 1, "a": 2}', Kind.DUPLICATE_KEY, "'a'"),
        (b'[{"x": {"b": 1, "c": 2, "b": 1}}]', Kind.DUPLICATE_KEY, "'b'"),
        (b'{"a\\u0061": 1, "aa": 2}', Kind.DUPLICATE_KEY, "'aa'"),
        (b'{"\\ud800": 1, "\\ud800": 2}', Kind.DUPLICATE_KEY, "twice"),
        (b'{"a": NaN}', Kind.INVALID_JSON, "NaN"),
        (b'{"a": -Infinity}', Kind.INVALID_JSON, "-Infinity"),
        (b'{"a": 1e999}', Kind.INVALID_JSON, "out of range"),
        (b'{"a": ' + b"9" * 5000 + b"}", Kind.INVALID_JSON, "digits"),
        (b'{"a": 1} {"a": 1}', Kind.INVALID_JSON, "Extra data at line 1 column 10"),
        (b'{"a": 1', Kind.INVALID_JSON, "line 1"),
        (b"{'a': 1}", Kind.INVALID_JSON, "line 1"),
        (b'{"a": 1,}', Kind.INVALID_JSON, "line 1"),
        (b'{"a": "tab\there"}', Kind.INVALID_JSON, "control character"),
        (b'\xef\xbb\xbf{"a": 1}', Kind.INVALID_JSON, "byte order mark"),
        (b'{"a": "\\ud800"}', Kind.INVALID_JSON, "surrogate"),
        (b'{"\\uDFFF": 1}', Kind.INVALID_JSON, "surrogate"),
        (b"\0" * 100, Kind.INVALID_JSON, "line 1"),
        (b'{"a": "\xff"}', Kind.NOT_UTF8, "byte 7"),
        ('{"a": 1}'.encode("utf-16"), Kind.NOT_UTF8, "byte 0"),
        (b'{"a": "\xed\xa0\x80"}', Kind.NOT_UTF8, "byte 7"),
        ('{"a": "ü'.encode()[:-1], Kind.INVALID_JSON, "middle of a character"),
    ],
)
def test_what_is_not_strict_json_is_named(data: bytes, kind: Kind, words: str) -> None:
    """
    Each rule has its kind and says what is wrong.
    """
    error = refused(data)

    assert kind is error.kind
    assert words in error.message
    assert error.message.isprintable()


@pytest.mark.parametrize("leaf", ["", "1", '"["'])
def test_depth_is_counted_in_containers_and_not_in_brackets(leaf: str) -> None:
    """
    As many containers as allowed pass, empty or not; one more does not.
    """
    fits = ("[" * 5 + leaf + "]" * 5).encode()

    assert strictjson.parse(fits, max_depth=5) == json.loads(fits)
    assert refused(b"[" + fits + b"]", max_depth=5).kind is Kind.TOO_DEEP


def test_objects_and_lists_beside_each_other_are_not_deep() -> None:
    """
    Many brackets are no depth.
    """
    assert len(strictjson.parse(b"[" + b"{}," * 1000 + b"[]]", max_depth=2)) == 1001


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("depth", [5_000, 1_000_000])
def test_depth_beyond_the_parsers_recursion_is_too_deep(opening: bytes, depth: int) -> None:
    """
    The parser's own limit neither escapes nor breaks the process.
    """
    error = refused(opening * depth)

    assert error.kind is Kind.TOO_DEEP
    assert "100" in error.message


def test_a_paired_surrogate_escape_is_a_character() -> None:
    """
    Only half a pair is refused.
    """
    assert strictjson.parse(b'"\\ud83d\\ude00"', max_depth=1) == "\N{GRINNING FACE}"


def test_a_long_key_does_not_make_a_long_message() -> None:
    """
    Messages go into status files, rows and labels.
    """
    key = b'"' + b"k" * 100_000 + b'": 1'

    assert len(refused(b"{" + key + b"," + key + b"}").message) < 200


@settings(deadline=None)
@given(JSON_VALUES)
def test_what_the_standard_library_writes_is_read_back(value: Any) -> None:
    """
    Strict does not mean that good JSON is refused.
    """
    for ascii_only in (True, False):
        try:
            data = json.dumps(value, ensure_ascii=ascii_only, allow_nan=False).encode()
        except UnicodeEncodeError:
            return
        assert strictjson.parse(data, max_depth=sys.getrecursionlimit()) == value


@settings(deadline=None)
@given(
    st.binary(max_size=200)
    | st.text(alphabet='{}[]",:0123456789eE.-\\udtrufalsn \n', max_size=80).map(str.encode)
)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """
    Nothing but a document or a refusal comes out.
    """
    with suppress(strictjson.NotJsonError):
        strictjson.parse(data, max_depth=10)
