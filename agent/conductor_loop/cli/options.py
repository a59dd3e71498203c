"""
What several commands are told in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click

from conductor_loop import clock
from conductor_loop.cli.fields import FIELD, Field, check

Decorator = Callable[[Any], Any]

MOST_FILES = 1_000_000


def output_option(command: Any) -> Any:
    """
    Add `-o table|json` and `--field`; the command gets `output` and hands its document to `print_json`.
    """
    return _field_option(callback=_remember)(_output_option(command))


def deed_output_option(*keys: str) -> Decorator:
    """
    Return the same for a command that changes something, whose `--field` must make sense before it does.

    Args:
        keys: of its document.
    """
    field = _field_option(callback=partial(_remember, keys=keys))
    return lambda command: field(_output_option(command))


url_option: Decorator = click.option(
    "--url",
    metavar="URL",
    help="Ask the agent there, such as http://127.0.0.1:8080; default: the configured one, at its admin socket or port.",
)

dry_run_option: Decorator = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


def duration_option(name: str, help_text: str, **settings: Any) -> Decorator:
    """
    Return an option that takes seconds or a duration such as "2m", and gives float seconds.
    """
    return click.option(name, metavar="TIME", callback=_seconds, help=help_text, **settings)


def moment_option(name: str, help_text: str) -> Decorator:
    """
    Return an option that takes a moment and gives it as RFC 3339 text.
    """
    return click.option(name, metavar="TIME", callback=_moment, help=help_text)


def limit_option(help_text: str, **settings: Any) -> Decorator:
    """
    Return an option that takes a number of files.
    """
    return click.option(
        "--limit", type=click.IntRange(1, MOST_FILES), metavar="N", help=help_text, **settings
    )


def _remember(ctx: click.Context, param: click.Parameter, name: str | None, keys: Sequence[str] = ()) -> None:
    if name is None:
        return
    if keys:
        check(name, keys)
    ctx.meta[FIELD] = Field(name, after_deed=bool(keys))


def _form(ctx: click.Context, param: click.Parameter, value: str) -> str:
    return "json" if FIELD in ctx.meta else value


_output_option: Decorator = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    callback=_form,
    help="Form of the answer.",
)
_field_option: Callable[..., Decorator] = partial(
    click.option,
    "--field",
    metavar="NAME",
    is_eager=True,
    expose_value=False,
    help="Print one value of the JSON form alone, such as health.status, or files.*.name for one of each file.",
)


def _seconds(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    if text is None or ctx.resilient_parsing:  # a default is not worth the import while a shell completes
        return None
    # Brings the configuration, which help and completion do not need.
    from conductor_loop.config.forms import LONGEST  # noqa: PLC0415
    from conductor_loop.config.units import parse_duration  # noqa: PLC0415

    try:
        seconds = parse_duration(text + "s" if text.isdecimal() else text)
    except ValueError as exc:
        raise click.BadParameter(f'{text!r}: {exc}; write seconds or a duration such as "30s"') from exc
    if seconds > parse_duration(LONGEST):
        raise click.BadParameter(f'{text!r}: too long; write "{LONGEST}" at most')
    return seconds


def _moment(ctx: click.Context, param: click.Parameter, text: str | None) -> str | None:
    if text is None:
        return None
    from conductor_loop.cli.moments import parse_moment  # noqa: PLC0415 - as above

    try:
        return parse_moment(text, now_us=clock.now_us())
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc
