"""
`conductor-loop check-config`: say what is wrong with a configuration, without using it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from conductor_loop.cli.options import output_option
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import print_json
from conductor_loop.errors import ConfigError


@click.command("check-config")
@click.argument("file", type=click.Path(path_type=Path, readable=False), required=False)
@click.option("--strict", is_flag=True, help="Unknown keys are errors instead of warnings.")
@output_option
@click.pass_obj
def check_config(session: Session, *, file: Path | None, strict: bool, output: str) -> int:
    """
    Check a configuration.

    Names all problems at once, each with file, key, value and what would be right; exits 78 if there are any.
    Needs neither network nor database; a schema is read and a Python handler imported.
    Without FILE: the configuration that the other commands would use.
    """
    path = file or session.path
    problems, warnings = _look(session, path, strict=strict)
    if output == "json":
        from conductor_loop.model import display_name  # noqa: PLC0415 - dear, and `--help` does not need it

        shown = None if path is None else display_name(str(path))
        print_json({"file": shown, "problems": list(problems), "warnings": list(warnings)})
    elif problems:
        raise ConfigError(*problems, warnings=warnings)
    else:
        for warning in warnings:
            click.echo(f"warning: {warning}", err=True)
        click.echo(f"{_name(path)}: ok")
    return ConfigError.exit_code if problems else 0


def _look(session: Session, path: Path | None, *, strict: bool) -> tuple[Sequence[str], Sequence[str]]:
    """
    Return problems and warnings.
    """
    # Brings every library of the agent, which `--help` does not need.
    from conductor_loop.app.parts import prove  # noqa: PLC0415

    try:
        loaded = session.load(path, strict=strict)
    except ConfigError as error:
        return error.problems, error.warnings
    return [f"{_name(path)}: {problem}" for problem in prove(loaded.config)], loaded.warnings


def _name(path: Path | None) -> str:
    return "built-in defaults" if path is None else str(path)
