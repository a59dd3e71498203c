"""
`conductor-loop files explain`: what would happen to a file.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conductor_loop.cli.options import output_option
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import columns, plain, print_json
from conductor_loop.config import Config
from conductor_loop.config.units import format_duration
from conductor_loop.model import display_name

if TYPE_CHECKING:
    from conductor_loop.app.explain import Explanation, Settling

Row = tuple[str, object]


@click.command()
@click.argument("file", type=click.Path(path_type=Path, readable=False))
@output_option
@click.pass_obj
def explain(session: Session, *, file: Path, output: str) -> int:
    """
    Say what would happen to a file, without touching it.

    FILE may lie anywhere: outside the handoff directory it is explained as if it were put there. Names everything
    that is wrong with it, and the exact command line. Exits 0 if it would be run, 1 if it would be rejected or
    ignored, or if the command cannot be started.
    """
    # Brings most of the agent, which `--help` does not need.
    from conductor_loop.app import explain as app  # noqa: PLC0415

    config = session.load().config
    found = app.explain(config, file)
    if output == "json":
        print_json(_document(config, found))
    else:
        click.echo(columns((name, plain(str(value))) for name, value in _rows(config, found)))
    return 0 if found.fate is app.Fate.RUN else 1


def _document(config: Config, found: Explanation) -> dict[str, Any]:
    settling, judgement, call = found.settling, found.judgement, found.call
    rejection = judgement.rejection if judgement else None
    return {
        "path": display_name(found.path),
        "name": display_name(found.name),
        "entry": found.entry,
        "in_handoff_dir": found.dropped,
        "fate": found.fate,
        "ignored": list(found.ignored),
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


def _rows(config: Config, found: Explanation) -> Iterator[Row]:
    yield "file", display_name(found.path)
    if not found.dropped:
        yield "", f"(as if it were put into {config.agent.handoff_dir})"
    if found.ignored:
        yield from (("ignored", reason) for reason in found.ignored)
        return
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
    yield "timeout", format_duration(processor.timeout)
    codes = ", ".join(map(str, retry.retry_exit_codes))
    again = f"after exit code {codes}, timeout or signal" if found.call else "if it raises Retry"
    latest = f"none begun later than {format_duration(retry.give_up_after)} after the claim"
    yield "again", f"{again}: {retry.max_attempts} attempts in all, {latest}"
