"""
`conductor-loop check-config`: say what is wrong with a configuration, without using it.
"""

from __future__ import annotations

from pathlib import Path

import click

from conductor_loop.cli.session import Session
from conductor_loop.errors import ConfigError


@click.command("check-config")
@click.argument("file", type=click.Path(path_type=Path, readable=False), required=False)
@click.option("--strict", is_flag=True, help="Unknown keys are errors instead of warnings.")
@click.pass_obj
def check_config(session: Session, *, file: Path | None, strict: bool) -> int:
    """
    Check a configuration.

    Names all problems at once, each with file, key, value and what would be right; exits 78 if there are any.
    Needs neither network nor database; a schema is read and a Python handler imported.
    Without FILE: the configuration that the other commands would use.
    """
    # Brings every library of the agent, which `--help` does not need.
    from conductor_loop.app.parts import prove  # noqa: PLC0415

    loaded = session.load(file, strict=strict)
    name = file or session.path or "built-in defaults"
    problems = [f"{name}: {problem}" for problem in prove(loaded.config)]
    if problems:
        raise ConfigError(*problems, warnings=loaded.warnings)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{name}: ok")
    return 0
