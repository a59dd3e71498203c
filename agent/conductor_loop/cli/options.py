"""
What several commands are told in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from conductor_loop import clock
from conductor_loop.cli.fields import FIELD
from conductor_loop.cli.moments import parse_moment
from conductor_loop.config import parse_duration

Decorator = Callable[[Any], Any]


def output_option(command: Any) -> Any:
    """
    Add `-o table|json` and `--field`; the command gets `output` and hands its document to `print_json`.
    """
    return _field(_output(command))


dry_run_option: Decorator = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


def duration_option(name: str, help_text: str, **settings: Any) -> Decorator:
    """
    Return an option that takes seconds or a duration such as "2m", and gives float seconds.
    """
    return click.option(
        name, metavar="TIME", callback=lambda ctx, param, value: _seconds(value), help=help_text, **settings
    )


def moment_option(name: str, help_text: str) -> Decorator:
    """
    Return an option that takes a moment and gives it as RFC 3339 text.
    """
    return click.option(
        name, metavar="TIME", callback=lambda ctx, param, value: _moment(value), help=help_text
    )


def _remember(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    ctx.meta[FIELD] = value


def _form(ctx: click.Context, param: click.Parameter, value: str) -> str:
    return "json" if ctx.meta.get(FIELD) else value


_output: Decorator = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    callback=_form,
    help="Form of the answer.",
)
_field: Decorator = click.option(
    "--field",
    metavar="NAME",
    is_eager=True,
    expose_value=False,
    callback=_remember,
    help="Print one value of the JSON form alone, such as health.status or files.0.name.",
)


def _seconds(text: str | None) -> float | None:
    if not text:
        return None
    try:
        return parse_duration(text + "s" if text.isdecimal() else text)
    except ValueError as exc:
        raise click.BadParameter(f'{text!r}: {exc}; write seconds or a duration such as "30s"') from exc


def _moment(text: str | None) -> str | None:
    if not text:
        return None
    try:
        return parse_moment(text, now_us=clock.now_us())
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc
