"""
What would happen to a file, as a document and in words.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from conductor_loop.cli.pauses import each
from conductor_loop.config import Config
from conductor_loop.config.units import format_duration
from conductor_loop.model import display_name

if TYPE_CHECKING:
    from conductor_loop.app.explain import Explanation, Settling

Row = tuple[str, object]


def document(config: Config, found: Explanation) -> dict[str, Any]:
    """
    Return the explanation as it is for programs.
    """
    settling, judgement, call = found.settling, found.judgement, found.call
    rejection = judgement.rejection if judgement else None
    return {
        "path": display_name(found.path),
        "name": display_name(found.name),
        "entry": found.entry,
        "in_handoff_dir": found.dropped,
        "fate": found.fate,
        "ignored": list(found.ignored),
        "paused": found.paused,
        "settling": settling
        and {
            "wait_seconds": settling.seconds,
            "being_written": settling.written,
            "writers": list(settling.writers),
        },
        "rejection": rejection
        and {"kind": rejection.kind, "message": rejection.message, "final_in_seconds": found.final_in},
        "problems": [
            {"kind": problem.kind, "message": problem.message}
            for problem in (judgement.problems if judgement else ())
        ],
        "command": call and [display_name(part) for part in call.argv],
        "environment": call and {name: display_name(value) for name, value in call.variables.items()},
        "command_problem": call and call.problem,
        "timeout_seconds": config.processor.timeout,
        "retry": {
            "max_attempts": config.retry.max_attempts,
            "give_up_after_seconds": config.retry.give_up_after,
            "exit_codes": list(config.retry.retry_exit_codes),
        },
    }


def rows(config: Config, found: Explanation) -> Iterator[Row]:
    """
    Yield the explanation as it is for people.
    """
    yield "file", display_name(found.path)
    if not found.dropped:
        yield "", f"(as if it were put into {config.agent.handoff_dir})"
    if found.ignored:
        yield from (("ignored", reason) for reason in found.ignored)
        return
    yield from (("taken", f"not while intake is paused: {words}") for words in each(found.paused))
    if not found.paused:
        yield "taken", _taken(config, found)
    yield from _validation(found)
    if found.judgement is None or found.judgement.rejection is None:
        yield from _processing(config, found)


def _taken(config: Config, found: Explanation) -> str:
    settle = format_duration(config.agent.settle)
    if found.settling is None:
        return f"at once if it is renamed in; written in place, once unchanged for {settle}"
    return _settled(found.settling, settle)


def _settled(settling: Settling, settle: str) -> str:
    if settling.writers:
        return f"not before it is closed by {', '.join(settling.writers)}"
    if settling.written:
        return "not before it is closed by whoever has it open for writing"
    if settling.seconds:
        return f"in {settling.seconds:.1f}s if it stays unchanged ({settle} in all; at once if it was renamed in)"
    unknown = (
        "" if settling.written is False else "; whether anybody has it open for writing this user cannot see"
    )
    return f"at once{unknown}"


def _validation(found: Explanation) -> Iterator[Row]:
    judgement = found.judgement
    if judgement is None or judgement.rejection is None:
        yield "acceptable", "yes"
        return
    yield "acceptable", f"no: it is rejected, kind {judgement.rejection.kind}{_when(found.final_in)}"
    for problem in judgement.problems:
        yield "problem", f"{problem.kind}: {problem.message}"


def _when(final_in: float) -> str:
    return f", if it stays unchanged for {final_in:.1f}s" if final_in else ""


def _processing(config: Config, found: Explanation) -> Iterator[Row]:
    processor, retry = config.processor, config.retry
    if found.call is None:
        yield "handler", f"{processor.handler}(file)"
    else:
        yield "command", " ".join(shlex.quote(display_name(part)) for part in found.call.argv)
        if found.call.problem:
            yield "", f"cannot be started, so that intake pauses: {found.call.problem}"
        for name, value in found.call.variables.items():
            yield "environment", f"{name}={shlex.quote(display_name(value))}"
        yield "", "(slot and id as they would be now; a file that comes before may have them)"
    yield "timeout", format_duration(processor.timeout)
    codes = ", ".join(map(str, retry.retry_exit_codes))
    again = f"after exit code {codes}, timeout or signal" if found.call else "if it raises Retry"
    latest = f"none begun later than {format_duration(retry.give_up_after)} after the claim"
    yield "again", f"{again}: {retry.max_attempts} attempts in all, {latest}"
