"""
Validation: what a file must be before it is run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema_rs

from conductor_loop.errors import ConfigError
from conductor_loop.model import Kind
from conductor_loop.work import strictjson

INTENT_SCHEMA = Path(__file__).with_name("intent.schema.json")

_MOST_PROBLEMS = 5  #: that one message lists
_MOST_LISTED = 1000  #: that a list of all problems has
_MESSAGE_LENGTH = 300  #: characters of one problem; a value in it may be as long as the file
_SMALL_BYTES = 16 * 1024  #: up to here every problem is looked for; beyond it the first one ends the search
_SPACE = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Problem:
    """
    Why a file is not acceptable.
    """

    kind: Kind
    message: str


class Checked(NamedTuple):
    """
    What validation found.
    """

    document: Any = None  #: the parsed JSON; the bytes themselves where no schema is asked for
    problem: Problem | None = None


class Validator:
    """
    Strict JSON first, then JSON Schema (2020-12 unless `$schema` names another draft).

    Args:
        schema: "intent" for the built-in schema, "none" for any content that is not empty, else the path of a
            schema file.
        max_bytes: size of the largest acceptable file.
        max_depth: of nested objects and lists.

    Raises:
        ConfigError: the schema file cannot be used.
    """

    def __init__(self, *, schema: str, max_bytes: int, max_depth: int) -> None:
        self.max_bytes = max_bytes
        self._max_depth = max_depth
        self._schema = (
            None if schema == "none" else _Schema(INTENT_SCHEMA if schema == "intent" else Path(schema))
        )

    def check(self, data: bytes) -> Checked:
        """
        Return the document in `data`, or the problem with it. Raises nothing, whatever `data` is.
        """
        read = self._read(data)
        if read.problem or self._schema is None:
            return read
        return Checked(read.document, self._schema.problem(read.document, len(data)))

    def problems(self, data: bytes) -> list[Problem]:
        """
        Return everything that is wrong with `data`, in the order in which `check` looks for the one that counts.

        What is no JSON has one problem, and so has a large document: the first one. Raises nothing.
        """
        read = self._read(data)
        if read.problem:
            return [read.problem]
        found = self._schema.problems(read.document, len(data)) if self._schema else []
        return found[:_MOST_LISTED]

    def too_large(self, size: int) -> Problem:
        """
        Return the problem of a file of `size` bytes, more than the largest acceptable one.
        """
        return Problem(Kind.TOO_LARGE, f"{size} bytes or more; at most {self.max_bytes} are accepted")

    def _read(self, data: bytes) -> Checked:
        if len(data) > self.max_bytes:
            return Checked(problem=self.too_large(len(data)))
        if not (data.strip(_SPACE) if self._schema else data):
            return Checked(problem=Problem(Kind.EMPTY, "the file is empty"))
        if self._schema is None:
            return Checked(document=data)
        try:
            return Checked(document=strictjson.parse(data, max_depth=self._max_depth))
        except strictjson.NotJsonError as error:
            return Checked(problem=Problem(error.kind, error.message))


class _Schema:
    """
    One compiled schema.
    """

    def __init__(self, path: Path) -> None:
        text = _read(path)
        # Their errors carry those of every branch: seconds and gigabytes for a large document.
        self._branches = any(f'"{keyword}"' in text for keyword in ("anyOf", "oneOf"))
        self._validator = _compile(path, text)

    def problem(self, document: Any, size: int) -> Problem | None:
        found = self.problems(document, size)
        return _summary(found) if found else None

    def problems(self, document: Any, size: int) -> list[Problem]:
        """
        Return all problems, those of the kind that counts first: a missing field, an unknown one, a wrong value.

        A misspelt key is both missing and unknown, and what is missing is what its writer needs to hear first.
        """
        try:
            return self._find_problems(document, size)
        except ValueError as error:  # the library's own limit of nesting
            message = f"nested more deeply than the schema can be applied to: {error}"
            return [Problem(Kind.TOO_DEEP, message)]

    def _find_problems(self, document: Any, size: int) -> list[Problem]:
        if self._validator.is_valid(document):
            return []
        if size > _SMALL_BYTES:
            return [self._first_problem(document)]
        found = map(_problem, self._validator.iter_errors(document))
        return sorted(found, key=lambda problem: _ORDER.index(problem.kind))

    def _first_problem(self, document: Any) -> Problem:
        # iter_errors makes all errors before it returns the first: 65 s and 5.8 GB for a list of 2.4 million
        # wrong items in 5 MB.
        try:
            if not self._branches:
                self._validator.validate(document)
        except jsonschema_rs.ValidationError as error:
            return _problem(error)
        return Problem(Kind.INVALID_VALUE, "does not match the schema; the file is too large to say where")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _unusable(path, f"cannot be read: {error}") from error


def _compile(path: Path, text: str) -> jsonschema_rs.Validator:
    try:
        schema = strictjson.parse(text.encode(), max_depth=100)
        return jsonschema_rs.validator_for(schema, validate_formats=True, retriever=_refuse)
    except strictjson.NotJsonError as error:
        raise _unusable(path, error.message) from error
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise _unusable(path, " ".join(str(error).split())) from error


def _refuse(uri: str) -> Any:
    # A schema is a file that the operator wrote; validation must not depend on the network.
    raise ValueError(f"{uri}: references to other documents are off")


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f'validation.schema: {path}: {why}; expected "intent", "none" or a file with a JSON Schema (2020-12)'
    )


def _summary(problems: Sequence[Problem]) -> Problem:
    """
    Return one problem for all, of the kind that comes first.
    """
    shown = [problem.message for problem in problems[:_MOST_PROBLEMS]]
    more = len(problems) - len(shown)
    return Problem(problems[0].kind, "; ".join(shown) + (f"; and {more} more" if more else ""))


_ORDER = (Kind.MISSING_FIELD, Kind.UNKNOWN_FIELD, Kind.INVALID_VALUE)
_KINDS = {
    "required": Kind.MISSING_FIELD,
    "dependentRequired": Kind.MISSING_FIELD,
    "additionalProperties": Kind.UNKNOWN_FIELD,
    "unevaluatedProperties": Kind.UNKNOWN_FIELD,
}


def _problem(error: jsonschema_rs.ValidationError) -> Problem:
    keyword = error.kind.name
    where = _path(error.instance_path)
    words = _WORDS.get(keyword)
    message = words(error) if words else error.message
    kind = _KINDS.get(keyword, Kind.INVALID_VALUE)
    return Problem(kind, _one_line(f"{where}: {message}" if where else message))


def _required(error: jsonschema_rs.ValidationError) -> str:
    kind: Any = error.kind
    return f'required field "{kind.property}" is missing'


def _unknown(error: jsonschema_rs.ValidationError) -> str:
    kind: Any = error.kind
    return "unknown field " + ", ".join(f'"{name}"' for name in kind.unexpected[:_MOST_PROBLEMS])


def _type(error: jsonschema_rs.ValidationError) -> str:
    kind: Any = error.kind
    if error.instance_path or kind.types != ["object"]:
        return error.message
    return f"an object is expected: {error.message}"


_WORDS: dict[str, Callable[[jsonschema_rs.ValidationError], str]] = {
    "required": _required,
    "additionalProperties": _unknown,
    "unevaluatedProperties": _unknown,
    "type": _type,
}


def _path(parts: Iterable[str | int]) -> str:
    steps = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return "".join(steps).removeprefix(".")


def _one_line(text: str) -> str:
    if len(text) > _MESSAGE_LENGTH:
        half = _MESSAGE_LENGTH // 2
        text = f"{text[:half]} ... {text[-half:]}"  # the rule that is broken stands at the end
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
