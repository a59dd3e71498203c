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
from conductor_loop.cli.lazy import commands_below
from conductor_loop.config import Loaded

DIRECTORY = Path("/etc/conductor-loop")
RUN_DIRECTORY = Path("/run/conductor-loop")


@dataclass(frozen=True, slots=True)
class Session:
    """
    The choice of configuration, made before any command runs; nothing is read until `load`.
    """

    path: Path | None  #: None for built-in defaults
    log_level: str | None
    root: click.Command  #: of all commands
    prefix: str  #: of the environment variables that stand for their options

    @classmethod
    def from_options(
        cls, ctx: click.Context, *, config: str | None, instance: str | None, log_level: str | None
    ) -> Session:
        """
        Return the session that the options ask for; what is typed beats the environment.

        Raises:
            click.UsageError: if they contradict each other.
        """
        sources = {name: ctx.get_parameter_source(name) for name in ("config", "instance")}
        if config and instance and sources["config"] == sources["instance"]:
            raise click.UsageError("give --config or --instance, not both", ctx)
        if config and (not instance or sources["config"] is ParameterSource.COMMANDLINE):
            path: Path | None = Path(config)
        else:
            path = instance_path(instance) if instance else default_path()
        return cls(path, log_level, ctx.command, ctx.auto_envvar_prefix or "")

    def load(self, path: Path | None = None, *, strict: bool = False) -> Loaded:
        """
        Return the merged configuration.

        Args:
            path: a file instead of the session's own.
            strict: unknown keys are errors.

        Raises:
            ConfigError: naming everything that is wrong.
        """
        path = path or self.path
        return config.load(
            path,
            environ=config.environ(),
            flags={"log.level": self.log_level},
            options=self._variables(),
            defaults=_defaults(path),
            strict=strict,
        )

    def _variables(self) -> Iterator[str]:
        """
        Yield the variables that stand for options; of commands only if one is set, as that imports all of them.
        """
        own = set(_own_variables(self.root, self.prefix))
        yield from own
        known = own | {key.variable for key in config.KEYS.values()}
        if any(name.startswith(f"{self.prefix}_") and name not in known for name in config.environ()):
            yield from option_variables(self.root, self.prefix)


def _defaults(path: Path | None) -> dict[str, object]:
    """
    Return the defaults of an instance of this node: its service has a directory for the admin socket.
    """
    if path is None or path.absolute().parent != DIRECTORY or path.suffix != ".toml":
        return {}
    return {"admin.socket": str(RUN_DIRECTORY / path.stem / "admin.sock")}


def option_variables(command: click.Command, prefix: str) -> Iterator[str]:
    """
    Yield the environment variables that click reads for the options of a command and of those below it.
    """
    yield from _own_variables(command, prefix)
    for name, below in commands_below(command).items():
        yield from option_variables(below, f"{prefix}_{name}".replace("-", "_").upper())


def _own_variables(command: click.Command, prefix: str) -> Iterator[str]:
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.allow_from_autoenv:
            yield f"{prefix}_{parameter.name}".upper()


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
