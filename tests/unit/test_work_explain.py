"""
What an attempt would do, without making it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from conductor_loop.model import Kind
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.work.command import CommandProcessor
from conductor_loop.work.explain import call, judge
from conductor_loop.work.process import Abort
from conductor_loop.work.processor import File
from conductor_loop.work.validate import Validator

INTENT = Validator(schema="intent", max_bytes=1000, max_depth=100)
GOOD = json.dumps({"intent_type": "scaling", "target": "odu", "namespace": "ran", "replicas": 3}).encode()


@pytest.fixture
def abort() -> Iterator[Abort]:
    with closing(Abort()) as one:
        yield one


def processor(abort: Abort, *command: str, structured: bool = False) -> CommandProcessor:
    return CommandProcessor(
        command,
        structured=structured,
        out_dir="/srv/out",
        timeout=30.0,
        kill_grace=5.0,
        output_limit=1024,
        environ={"PATH": "/usr/bin:/bin"},
        abort=abort,
    )


def a_file(name: str = "intent-a.json") -> File:
    return File(
        path=Path("/srv/in/work/agent/0") / name,
        name=name,
        id="0123456789-7",
        attempt=1,
        sha256=hashlib.sha256(GOOD).hexdigest(),
        data=None,
        deadline=Deadline.after(30.0),
    )


def test_good_file_has_no_problems() -> None:
    """
    It would be run.
    """
    found = judge("intent-a.json", GOOD, INTENT, reject_after=5.0)

    assert (found.rejection, list(found.problems), found.final_after) == (None, [], 0.0)


@pytest.mark.parametrize(
    ("data", "kind", "final_after"),
    [
        (b"", Kind.EMPTY, 5.0),
        (GOOD[:-2], Kind.INVALID_JSON, 5.0),
        (b'{"replicas": 3}', Kind.MISSING_FIELD, 0.0),
        (b" " * 1001, Kind.TOO_LARGE, 0.0),
    ],
)
def test_bad_file_has_its_outcome_and_when_it_is_final(data: bytes, kind: Kind, final_after: float) -> None:
    """
    What may only be unfinished is rejected later than what is wrong.
    """
    found = judge("intent-a.json", data, INTENT, reject_after=5.0)

    assert found.rejection is not None
    assert (found.rejection.kind, found.final_after) == (kind, final_after)
    assert found.problems[0].kind == kind


def test_name_that_is_not_utf8_comes_before_everything_else() -> None:
    """
    As in an attempt, which does not read such a file.
    """
    found = judge("intent-\udcff.json", b"", INTENT, reject_after=5.0)

    assert [problem.kind for problem in found.problems] == [Kind.BAD_NAME]
    assert "intent-\\xff.json" in found.problems[0].message


def test_call_is_the_one_that_would_be_made(abort: Abort) -> None:
    """
    Every placeholder filled, other braces left alone, and the variables beside it.
    """
    command = ("true", "-intent", "{path}", "{out_dir}/{id}.{attempt}", "{name}", "{other}")

    found = call(processor(abort, *command, structured=True), a_file())

    assert found.argv == [
        "true",
        "-intent",
        "/srv/in/work/agent/0/intent-a.json",
        "/srv/out/0123456789-7.1",
        "intent-a.json",
        "{other}",
        "-structured",
    ]
    assert found.variables == {
        "CONDUCTOR_FILE_ID": "0123456789-7",
        "CONDUCTOR_ATTEMPT": "1",
        "CONDUCTOR_SHA256": hashlib.sha256(GOOD).hexdigest(),
        "CONDUCTOR_NAME": "intent-a.json",
    }
    assert found.problem is None


def test_missing_command_is_said(abort: Abort) -> None:
    """
    As the pause would have it.
    """
    found = call(processor(abort, "no-such-program-at-all", "{path}"), a_file())

    assert found.problem == "no-such-program-at-all: no such program; install it, or give its full path"
