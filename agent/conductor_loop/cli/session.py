"""
What the options before the command mean: which configuration it is about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from conductor_loop import config
from conductor_loop.config import Loaded

DIRECTORY = Path("/etc/conductor-loop")


@dataclass(frozen=True, slots=True)
class Session:
    """
    The choice of configuration, made before any command runs; nothing is read until `load`.
    """

    path: Path | None  #: None for built-in defaults
    log_level: str | None = None
    variables: frozenset[str] = frozenset()  #: of the environment, that stand for options of commands

    @classmethod
    def from_options(
        cls, ctx: click.Context, *, config: Path | None, instance: str | None, log_level: str | None
    ) -> Session:
        """
        Return the session that the options ask for; what is typed beats the environment.

        Raises:
            click.UsageError: if they contradict each other.
        """
        sources = {name: ctx.get_parameter_source(name) for name in ("config", "instance")}
        if config and instance and sources["config"] == sources["instance"]:
            raise click.UsageError("give --config or --instance, not both", ctx)
        variables = frozenset(option_variables(ctx.command, ctx.auto_envvar_prefix or ""))
        if config and (not instance or sources["config"] is ParameterSource.COMMANDLINE):
            return cls(config, log_level, variables)
        return cls(instance_path(instance) if instance else default_path(), log_level, variables)

    def load(self, path: Path | None = None, *, strict: bool = False) -> Loaded:
        """
        Return the merged configuration.

        Args:
            path: a file instead of the session's own.
            strict: unknown keys are errors.

        Raises:
            ConfigError: naming everything that is wrong.
        """
        flags = {"log.level": self.log_level}
        return config.load(
            path or self.path,
            environ=config.environ(),
            flags=flags,
            options=self.variables,
            strict=strict,
        )


def option_variables(command: click.Command, prefix: str) -> Iterator[str]:
    """
    Yield the environment variables that click reads for the options of a command and of those below it.
    """
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.allow_from_autoenv:
            yield f"{prefix}_{parameter.name}".upper()
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from option_variables(below, f"{prefix}_{name}".replace("-", "_").upper())


def instance_path(name: str) -> Path:
    """
    Return the configuration file of an instance.

    Raises:
        click.BadParameter: if there can be no such instance.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        raise click.BadParameter(
            f"{name!r} is no name of an instance; write letters, digits, dots, underscores and dashes",
            param_hint="--instance",
        )
    return DIRECTORY / f"{name}.toml"


def default_path() -> Path | None:
    """
    Return the node's configuration file if there is one.
    """
    path = DIRECTORY / "agent.toml"
    return path if path.exists() else None
