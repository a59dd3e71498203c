"""
Reading the configuration again while the agent runs.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from conductor_loop.config import KEYS, SECTIONS, Config, Key, Loaded, as_written, config_hash
from conductor_loop.errors import ConfigError
from conductor_loop.http.administration import Reloaded
from conductor_loop.metrics.live import Live

Differences = Mapping[str, tuple[object, object]]  #: dotted key -> old and new value, as written in a file


class Parts(Protocol):
    """
    What takes a configuration over.
    """

    def prepare(self, config: Config) -> Callable[[], None]:
        """
        Make what is new and change nothing; return what takes it over. Both raise ConfigError and change nothing then.
        """


class Reloader:
    """
    Has the parts of a running agent take over what has changed in its configuration.

    Args:
        config: what the agent was started with.
        load: reads file, environment and options again.
        parts: what is running.
        live: shows the warning that a restart is needed.
    """

    def __init__(self, config: Config, *, load: Callable[[], Loaded], parts: Parts, live: Live) -> None:
        self._config = config
        self._hash = config_hash(config)
        self._load = load
        self._parts = parts
        self._live = live
        self._lock = threading.Lock()  # held by one who reloads; only others who reload wait for it

    @property
    def config(self) -> Config:
        """
        The configuration in use: keys that need a restart have the values that they had at the start.
        """
        return self._config

    def config_hash(self) -> str:
        """
        Return the short hash of the configuration in use.
        """
        return self._hash

    def reload(self, *, dry_run: bool) -> Reloaded:
        """
        Read the configuration again and take it over as a whole, or with `dry_run` say what that would change.

        Raises:
            ConfigError: naming everything that is wrong with it; nothing was changed.
            PermissionDeniedError: the file may not be read; nothing was changed.
        """
        with self._lock:
            loaded = self._load()
            wanted = _but_for_restart(loaded.config, self._config)
            reloaded = Reloaded(
                changed=_differences(self._config, wanted),
                needs_restart=_differences(wanted, loaded.config),
                warnings=loaded.warnings,
                config_hash=config_hash(wanted),
            )
            take_over = self._prepare(wanted, loaded)
            if not dry_run:
                take_over()
                self._config, self._hash = wanted, reloaded.config_hash
                self._warn(reloaded, loaded)
        return reloaded

    def _prepare(self, wanted: Config, loaded: Loaded) -> Callable[[], None]:
        try:
            return self._parts.prepare(wanted)
        except ConfigError as error:
            raise ConfigError(*error.problems, warnings=loaded.warnings) from error

    def _warn(self, reloaded: Reloaded, loaded: Loaded) -> None:
        waiting = [
            f"{dotted} is {json.dumps(new)} ({loaded.origins[dotted]}), restart to use it"
            for dotted, (_, new) in reloaded.needs_restart.items()
        ]
        self._live.warn("restart", "; ".join(waiting) or None)


def _but_for_restart(new: Config, old: Config) -> Config:
    """
    Return `new` with the old values of the keys that need a restart.
    """
    sections = {}
    for section in SECTIONS:
        kept = [key.name for key in KEYS.values() if key.section == section and key.restart]
        before = getattr(old, section)
        sections[section] = replace(getattr(new, section), **{name: getattr(before, name) for name in kept})
    return Config(**sections)


def _differences(old: Config, new: Config) -> Differences:
    before, after = as_written(old), as_written(new)
    return {
        dotted: (_shown(key, before), _shown(key, after))
        for dotted, key in KEYS.items()
        if before[key.section][key.name] != after[key.section][key.name]
    }


def _shown(key: Key, written: Mapping[str, Mapping[str, object]]) -> object:
    return key.shown(written[key.section][key.name])
