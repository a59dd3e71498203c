"""
What an attempt on a file would do, without making it: pure.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conductor_loop.model import Kind, display_name, is_utf8
from conductor_loop.work.attempt import MAY_BE_UNFINISHED
from conductor_loop.work.command import CommandProcessor, variables
from conductor_loop.work.processor import File
from conductor_loop.work.validate import Problem, Validator


@dataclass(frozen=True, slots=True)
class Judgement:
    """
    What validation would make of a file.
    """

    problems: Sequence[Problem] = ()  #: all of them
    rejection: Problem | None = None  #: as the file's outcome would have it; None: it is run
    final_after: float = 0.0  #: seconds that the file must be unchanged before that is final


@dataclass(frozen=True, slots=True)
class Call:
    """
    How the command would be called.
    """

    argv: Sequence[str]
    variables: Mapping[str, str]  #: added to its environment
    problem: str | None  #: why it cannot be started now


def judge(name: str, data: bytes, validator: Validator, *, reject_after: float) -> Judgement:
    """
    Validate a file.

    Args:
        data: its content; of a file that is too large, one byte more than is accepted will do.
        reject_after: seconds that an empty or unparsable file must be unchanged before that is final.
    """
    if not is_utf8(name):
        problem = Problem(Kind.BAD_NAME, f"{display_name(name)}: not valid UTF-8")
        return Judgement([problem], problem)
    rejection = validator.check(data).problem
    if rejection is None:
        return Judgement()
    final_after = reject_after if rejection.kind in MAY_BE_UNFINISHED else 0.0
    return Judgement(validator.problems(data), rejection, final_after)


def call(processor: CommandProcessor, file: File) -> Call:
    """
    Return how the command would be called with `file`.
    """
    said = {os.fsdecode(name): os.fsdecode(value) for name, value in variables(file).items()}
    return Call(processor.argv(file), said, processor.problem())
