"""
What the options before the command mean: which configuration it is about.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from conductor_loop.cli.lazy import commands_below

if TYPE_CHECKING:
    from conductor_loop.config import Config, Loaded

DIRECTORY = Path("/etc/conductor-loop")
RUN_DIRECTORY = Path("/run/conductor-loop")
BUILT_IN = "conductor_loop.built_in"  #: in the context of a command that made do without a configuration file


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
        for name, value in (("--config", config), ("--instance", instance)):
            if value == "":
                # Of a script whose variable is not set: the agent that is meant is another than the default one.
                raise click.BadParameter("is empty", ctx, param_hint=name)
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
        context = click.get_current_context(silent=True)
        if path is None and context is not None:
            context.meta[BUILT_IN] = True
        # The dearest import of all; help and completion make a session, too, and load nothing.
        from conductor_loop import config  # noqa: PLC0415

        environ, keys = config.environ(), {key.variable for key in config.KEYS.values()}
        return config.load(
            path,
            environ=environ,
            flags={"log.level": self.log_level},
            options=self._variables(environ, keys),
            defaults=_defaults(path),
            strict=strict,
        )

    def salvage(self) -> Config | None:
        """
        Return what tells where the running agent is asked, of a configuration with mistakes; None if nothing does.
        """
        from conductor_loop import config  # noqa: PLC0415 - as above

        return config.salvage(self.path, environ=config.environ(), defaults=_defaults(self.path))

    def command(self, words: str) -> str:
        """
        Return a command about the same configuration, as a hint shows it.
        """
        from conductor_loop.model import display_name  # noqa: PLC0415 - as above

        options = f"--config {shlex.quote(display_name(str(self.path)))} " if self.path else ""
        return f"`conductor-loop {options}{words}`"

    def _variables(self, environ: Mapping[str, str], keys: set[str]) -> Iterator[str]:
        """
        Yield the variables that stand for options; of commands only if one is set, as that imports all of them.

        Args:
            keys: variables that stand for keys of the configuration.
        """
        own = set(_own_variables(self.root, self.prefix))
        yield from own
        known = own | keys
        if any(name.startswith(f"{self.prefix}_") and name not in known for name in environ):
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
