from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor_loop.errors import ConfigError
from conductor_loop.model import Kind
from conductor_loop.work.validate import INTENT_SCHEMA, Validator

CONTRACT = Path(__file__).parents[1] / "data" / "contract"
GOOD = {"intent_type": "scaling", "target": "odu", "namespace": "ran", "replicas": 3}
KEYS = [*GOOD, "apiVersion", "kind", "metadata", "labels"]
INTENT = Validator(schema="intent", max_bytes=5 * 2**20, max_depth=100)


def problem(document: Any, validator: Validator = INTENT) -> tuple[Kind, str] | None:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    found = validator.check(data).problem
    return (found.kind, found.message) if found else None


def own_schema(folder: Path, schema: Any) -> Validator:
    path = folder / "own.schema.json"
    path.write_text(json.dumps(schema), encoding="utf-8")
    return Validator(schema=str(path), max_bytes=2**20, max_depth=20)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("intent-scale-odu.json", None),
        ("intent-scale-to-zero.json", None),
        ("intent-network-slice.json", None),
        ("intent-bad-no-replicas.json", Kind.MISSING_FIELD),
        ("intent-bad-truncated.json", Kind.INVALID_JSON),
        ("intent-bad-duplicate-key.json", Kind.DUPLICATE_KEY),
    ],
)
def test_example_files_of_the_contract(name: str, kind: Kind | None) -> None:
    """
    Each example ends as its name says.
    """
    found = problem((CONTRACT / name).read_bytes())

    assert kind == (found and found[0])


def test_every_example_file_is_in_the_test_above() -> None:
    """
    Three good and three bad ones, no more.
    """
    assert len(list(CONTRACT.glob("intent-*.json"))) == 6


def test_the_built_in_schema_is_the_contract() -> None:
    """
    What is shipped has the rules that were agreed.
    """
    assert json.loads((CONTRACT / "intent.schema.json").read_text()) == json.loads(INTENT_SCHEMA.read_text())


def test_a_good_file_is_parsed() -> None:
    """
    A python processor gets the document and need not parse it again.
    """
    checked = INTENT.check(json.dumps(GOOD).encode())

    assert checked.problem is None
    assert checked.document == GOOD


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"replicas": 101}, Kind.INVALID_VALUE, "replicas: 101 is greater than the maximum of 100"),
        ({"replicas": -1}, Kind.INVALID_VALUE, "replicas: -1 is less than the minimum of 0"),
        ({"replicas": True}, Kind.INVALID_VALUE, 'replicas: true is not of type "integer"'),
        ({"replicas": "3"}, Kind.INVALID_VALUE, 'replicas: "3" is not of type "integer"'),
        ({"target": "x\n"}, Kind.INVALID_VALUE, "target: "),
        ({"target": "-x"}, Kind.INVALID_VALUE, "target: "),
        ({"created_at": "yesterday"}, Kind.INVALID_VALUE, 'created_at: "yesterday" is not a "date-time"'),
        ({"target_resources": ["a", ""]}, Kind.INVALID_VALUE, "target_resources[1]: "),
        ({"colour": "red"}, Kind.UNKNOWN_FIELD, 'unknown field "colour"'),
    ],
)
def test_a_broken_rule_is_named_with_its_place(change: dict[str, Any], kind: Kind, message: str) -> None:
    """
    Kind, path, value and what would be right.
    """
    found = problem(GOOD | change)

    assert found is not None
    assert kind is found[0]
    assert found[1].startswith(message)
    assert found[1].isprintable()


def test_a_missing_field_comes_before_an_unknown_one_before_a_wrong_value() -> None:
    """
    A misspelt key is told by what is missing; the rest follows.
    """
    found = problem({"intent_typ": "scaling", "target": "x", "namespace": "y", "replicas": 101})

    assert found is not None
    assert found[0] is Kind.MISSING_FIELD
    assert found[1].split("; ") == [
        'required field "intent_type" is missing',
        'unknown field "intent_typ"',
        "replicas: 101 is greater than the maximum of 100",
    ]


def test_at_most_five_problems_are_listed() -> None:
    """
    The others are counted.
    """
    found = problem(GOOD | {"target_resources": [0] * 20})

    assert found is not None
    assert found[1].count("target_resources[") == 5
    assert found[1].endswith("; and 15 more")


@pytest.mark.parametrize("document", [[], "text", 5, None, True])
def test_an_object_is_expected(document: Any) -> None:
    """
    Other JSON is a wrong value, in words.
    """
    found = problem(document)

    assert found is not None
    assert found[0] is Kind.INVALID_VALUE
    assert found[1].startswith("an object is expected: ")


def test_a_value_as_long_as_the_file_does_not_hide_the_rule() -> None:
    """
    Long messages are cut in the middle.
    """
    found = problem(GOOD | {"target": "x" * 10_000})

    assert found is not None
    assert found[1].startswith('target: "xxx')
    assert found[1].endswith("longer than 253 characters")
    assert len(found[1]) < 400


def test_control_characters_of_the_file_do_not_get_into_the_message() -> None:
    """
    Messages are one line in logs and status files, right-to-left marks and escapes included.
    """
    found = problem(GOOD | {"a\nb\x1b[31m\u202e": 1})

    assert found == (Kind.UNKNOWN_FIELD, 'unknown field "a\\nb\\x1b[31m\\u202e"')


@pytest.mark.parametrize("data", [b"", b" ", b"\n\t \r\n"])
def test_nothing_but_space_is_empty(data: bytes) -> None:
    """
    Not invalid JSON, but empty.
    """
    assert problem(data) == (Kind.EMPTY, "the file is empty")


def test_size_is_checked_before_anything_else() -> None:
    """
    The largest acceptable file passes, one byte more does not.
    """
    data = json.dumps(GOOD).encode()
    validator = Validator(schema="intent", max_bytes=len(data), max_depth=5)

    assert problem(data, validator) is None
    assert problem(data + b" ", validator) == (
        Kind.TOO_LARGE,
        f"{len(data) + 1} bytes or more; at most {len(data)} are accepted",
    )


def test_without_a_schema_anything_goes_that_is_not_empty() -> None:
    """
    No JSON is looked for; size and emptiness count.
    """
    validator = Validator(schema="none", max_bytes=10, max_depth=1)

    assert validator.check(b"\xff\0 \n").document == b"\xff\0 \n"
    assert validator.check(b" ").problem is None
    assert problem(b"", validator) == (Kind.EMPTY, "the file is empty")
    assert (found := problem(b"12345678901", validator)) is not None
    assert found[0] is Kind.TOO_LARGE


def test_a_schema_of_ones_own(tmp_path: Path) -> None:
    """
    Its file decides, lists at the top included.
    """
    validator = own_schema(tmp_path, {"type": "array", "items": {"required": ["id"]}})

    assert problem([{"id": 1}], validator) is None
    assert problem([{"id": 1}, {}], validator) == (Kind.MISSING_FIELD, '[1]: required field "id" is missing')


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "line 1"),
        (b'{"type": "objekt"}', "objekt"),
        (b'{"type": "object", "type": "array"}', "'type'"),
        (b'{"$ref": "https://example.invalid/x"}', "references to other documents are off"),
        (b'{"$ref": "file:///etc/hostname"}', "references to other documents are off"),
        (b'{"$ref": "#/$defs/none"}', "/$defs/none"),
        (b'{"pattern": "("}', "regex"),
        (b'{"$schema": "https://example.invalid/draft"}', "meta-schema"),
        (b"\xff", "cannot be read"),
        (b"[]", "is not of types"),
    ],
)
def test_a_broken_schema_file_is_a_configuration_error(tmp_path: Path, content: bytes, words: str) -> None:
    """
    The file is named, and what is wrong, at construction.
    """
    path = tmp_path / "broken.json"
    path.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        Validator(schema=str(path), max_bytes=1, max_depth=1)
    assert str(caught.value).startswith(f"validation.schema: {path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_schema_file_is_a_configuration_error(tmp_path: Path) -> None:
    """
    And not a crash.
    """
    with pytest.raises(ConfigError, match=r"nowhere\.json: cannot be read: .*No such file"):
        Validator(schema=str(tmp_path / "nowhere.json"), max_bytes=1, max_depth=1)


@pytest.mark.parametrize(
    "schema",
    [
        {"items": {"type": "string"}},
        {"anyOf": [{"items": {"type": "string"}}, {"type": "object"}]},
    ],
)
def test_a_large_file_full_of_errors_costs_neither_time_nor_memory(tmp_path: Path, schema: Any) -> None:
    """
    Making an error for each of a million items takes gigabytes, and that file is somebody's mistake.
    """
    validator = own_schema(tmp_path, schema)
    data = b"[" + b"0," * 500_000 + b"0]"

    before = time.process_time()
    found = problem(data, validator)

    assert found is not None
    assert found[0] is Kind.INVALID_VALUE
    assert time.process_time() - before < 1.5


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.floats(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner),
        max_leaves=15,
    )
)
def test_any_document_is_accepted_or_has_a_problem(document: Any) -> None:
    """
    Whatever its shape, with the keys of the schema or without.
    """
    checked = INTENT.check(json.dumps(document).encode())

    assert checked.problem is None or checked.problem.message.isprintable()


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_accepted_or_have_a_problem(data: bytes) -> None:
    """
    Nothing is raised.
    """
    assert INTENT.check(data).problem is not None


def test_a_document_deeper_than_the_schema_can_be_applied_to_is_too_deep() -> None:
    """
    The library has a limit of its own, and refuses with an exception.
    """
    validator = Validator(schema="intent", max_bytes=1 << 20, max_depth=500)

    problem = validator.check(b"[" * 400 + b"]" * 400).problem
    assert problem is not None
    assert problem.kind is Kind.TOO_DEEP
    nested = validator.check(b'{"zzz": ' * 450 + b"1" + b"}" * 450).problem
    assert nested is not None
    assert nested.kind is Kind.TOO_DEEP


def test_every_problem_of_a_small_document_is_listed() -> None:
    """
    In the order of their weight, the first of them of the kind that the outcome has.
    """
    data = json.dumps({"replicas": "many", "colour": 1, "namespace": 3}).encode()

    found = INTENT.problems(data)

    assert [problem.kind for problem in found] == [
        Kind.MISSING_FIELD,
        Kind.MISSING_FIELD,
        Kind.UNKNOWN_FIELD,
        Kind.INVALID_VALUE,
        Kind.INVALID_VALUE,
    ]
    checked = INTENT.check(data).problem
    assert checked is not None
    assert checked.kind == found[0].kind


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", Kind.EMPTY),
        (b"{", Kind.INVALID_JSON),
        (b'{"a": 1, "a": 2}', Kind.DUPLICATE_KEY),
        (b"[" * 200 + b"]" * 200, Kind.TOO_DEEP),
        (b"\xff", Kind.NOT_UTF8),
        (b" " * (5 * 2**20 + 1), Kind.TOO_LARGE),
    ],
)
def test_what_is_no_json_has_one_problem(data: bytes, kind: Kind) -> None:
    """
    The same one that the outcome has.
    """
    assert INTENT.problems(data) == [INTENT.check(data).problem]
    assert INTENT.problems(data)[0].kind == kind


def test_good_documents_have_no_problems(tmp_path: Path) -> None:
    """
    Nor has anything where nothing is asked for.
    """
    anything = Validator(schema="none", max_bytes=10, max_depth=1)

    assert INTENT.problems(json.dumps(GOOD).encode()) == []
    assert anything.problems(b"\xff\x00") == []


def test_list_of_problems_is_bounded(tmp_path: Path) -> None:
    """
    A small document has a thousand at most, a large one the first.
    """
    validator = own_schema(tmp_path, {"items": {"type": "string"}})

    assert len(validator.problems(json.dumps([1] * 3000).encode())) == 1000
    assert len(validator.problems(json.dumps([1] * 30_000).encode())) == 1
