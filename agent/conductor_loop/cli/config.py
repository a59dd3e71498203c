"""
`conductor-loop config`: the configuration as it is in the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from conductor_loop.cli.options import output_option
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import print_json

if TYPE_CHECKING:
    from conductor_loop.config import Config, Loaded


@click.group()
def config() -> None:
    """
    Look at the configuration.
    """


@config.command()
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@output_option
@click.pass_obj
def show(session: Session, *, origin: bool, output: str) -> int:
    """
    Show the merged configuration: defaults, file, environment and options.

    As TOML, which can be used as a configuration file. Secrets are not shown. Warns if the running agent has another
    configuration.
    """
    # They bring the configuration, which `--help` does not need.
    from conductor_loop.cli.agent_client import running_hash  # noqa: PLC0415
    from conductor_loop.config import config_hash  # noqa: PLC0415

    loaded = session.load()
    values, own_hash = redacted(loaded.config), config_hash(loaded.config)
    if output == "json":
        document = {"file": str(session.path) if session.path else None, "config_hash": own_hash}
        print_json({**document, "config": values, "origins": dict(loaded.origins)})
    else:
        click.echo("\n".join(_toml(values, loaded.origins if origin else {})))
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    used = running_hash(loaded.config)
    if used is not None and used != own_hash:
        click.echo(
            f"warning: the running agent has another configuration ({used}, this is {own_hash}); "
            f"{_why_another(session, loaded)}",
            err=True,
        )
    return 0


def _why_another(session: Session, loaded: Loaded) -> str:
    if any(origin.startswith(("environment ", "flag ")) for origin in loaded.origins.values()):
        return "it was started with other options or environment variables, or the file has changed since"
    return f"{session.command('reload --dry-run')} shows what differs"


def redacted(config: Config) -> dict[str, dict[str, object]]:
    """
    Return all values as they are written, secrets only as such.
    """
    from conductor_loop.config import KEYS, as_written  # noqa: PLC0415 - as above

    return {
        section: {name: KEYS[f"{section}.{name}"].shown(value) for name, value in table.items()}
        for section, table in as_written(config).items()
    }


def _toml(values: Mapping[str, Mapping[str, object]], origins: Mapping[str, str]) -> Iterator[str]:
    for section, table in values.items():
        yield f"[{section}]"
        for name, value in table.items():
            line = f"{name} = {_value(value)}"
            origin = origins.get(f"{section}.{name}")
            yield f"{line}  # {origin}" if origin else line
        yield ""


def _value(value: Any) -> str:
    """
    Return a value as TOML; JSON writes strings, numbers and lists of them in the same way.
    """
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
