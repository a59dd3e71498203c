"""
The configuration of an agent inside another program: keyword arguments instead of a file and an environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from conductor_loop import config
from conductor_loop.config import Loaded
from conductor_loop.errors import ConfigError
from conductor_loop.work.handler import Handler, refer_to


class Config:
    """
    What a `Watcher` is to do, as keyword arguments: `Config(max_workers=8, command=["work-on", "{path}"])`.

    The names are those of the keys in a configuration file, without their sections; the one name that two sections
    share is `validation_max_bytes` and `history_max_bytes` here. Values are those of the file, and beyond them numbers
    of seconds for durations, paths as `pathlib.Path`, and for `handler` the function itself. With `handler` or
    `command` the `kind` follows from that. Relative paths start from the current directory.

    Three defaults are not those of the agent: `state_dir` and `out_dir` are folders of the watched directory, `state`
    and `out`, and there is no HTTP server (`metrics_port` is 0). The environment is not looked at.

    Raises:
        TypeError: there is no setting of this name.
        ConfigError: a value cannot be used.
    """

    def __init__(self, **settings: Any) -> None:
        if "handoff_dir" in settings:
            raise TypeError("handoff_dir is the path that Watcher gets; leave it out here")
        self.handler: Handler | None = None  #: the function, where not only its place was given
        if callable(settings.get("handler")):
            self.handler = settings["handler"]
            settings["handler"] = refer_to(settings["handler"])
        self._arguments = config.as_toml(_with_kind(settings))
        config.check_arguments(self._arguments)
        self._path: Path | None = None
        self._document: Mapping[str, object] = {}

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **settings: Any) -> Self:
        """
        Read a TOML file as the agent does; keyword arguments beat what it says.

        Relative paths in it start from its directory. Its `handoff_dir` is not looked at: what is watched, Watcher is told.

        Raises:
            ConfigError: if there is no such file, or it is not TOML.
            PermissionDeniedError: if it may not be read.
        """
        made = cls(**settings)
        made._path = Path(path)
        made._document = config.read_document(made._path)
        return made

    def merge(self, handoff_dir: str) -> Loaded:
        """
        Return the whole configuration for watching a directory.

        Raises:
            ConfigError: naming everything that is wrong.
        """
        absolute = os.path.abspath(handoff_dir)
        return config.merge(
            self._document,
            path=self._path,
            environ={},
            flags={},
            defaults={
                "agent.state_dir": os.path.join(absolute, "state"),
                "processor.out_dir": os.path.join(absolute, "out"),
                "http.metrics_port": 0,
            },
            arguments={**self._arguments, "handoff_dir": handoff_dir},
        )


def _with_kind(settings: dict[str, Any]) -> dict[str, Any]:
    if "kind" in settings:
        return settings
    match "handler" in settings, "command" in settings:
        case True, True:
            raise ConfigError(
                'handler and command are both given; leave one out, or say which with kind="command"'
            )
        case True, False:
            return {**settings, "kind": "python"}
        case False, True:
            return {**settings, "kind": "command"}
        case _:
            return settings
