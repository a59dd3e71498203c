"""
The configuration of an agent inside another program.
"""

from __future__ import annotations

import functools
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from conductor_loop import Config, File, Watcher
from conductor_loop.config import ARGUMENTS, KEYS
from conductor_loop.config import Config as Merged
from conductor_loop.errors import ConfigError


@pytest.fixture
def handoff(tmp_path: Path) -> Path:
    return tmp_path / "in"


def merged(directory: Path, config: Config) -> Merged:
    return config.merge(str(directory)).config


def test_every_key_has_its_keyword() -> None:
    """Only names that two sections share have their section before them; a new such key would rename an old one."""
    assert sorted(key.dotted for key in ARGUMENTS.values()) == sorted(KEYS)
    assert [name for name, key in ARGUMENTS.items() if name != key.name] == [
        "validation_max_bytes",
        "history_max_bytes",
    ]


def test_three_defaults_are_not_those_of_the_agent(handoff: Path) -> None:
    """No server, and all directories in the watched one."""
    found = merged(handoff, Config())
    usual = Merged()

    assert found.agent.handoff_dir == handoff
    assert found.agent.state_dir == handoff / "state"
    assert found.agent.failed_dir == handoff / "failed"
    assert found.processor.out_dir == handoff / "out"
    assert found.http.metrics_port == 0
    assert found.processor.command == usual.processor.command
    assert (found.validation, found.retry, found.files) == (usual.validation, usual.retry, usual.files)


def test_values_are_those_of_the_file_and_python_s_own(handoff: Path) -> None:
    """Durations as seconds, paths as paths, tuples for lists."""
    settings = {
        "timeout": 2.5,
        "settle": "250ms",
        "kill_grace": 0,
        "give_up_after": 7200,
        "state_dir": Path("/srv/state"),
        "command": (Path("/bin/cp"), "{path}", "/dev/null"),
        "retry_exit_codes": [75, 76],
        "validation_max_bytes": 1000,
        "history_max_bytes": "3MiB",
        "metrics_port": 8080,
    }
    found = merged(handoff, Config(**settings))

    assert (found.processor.timeout, found.agent.settle, found.processor.kill_grace) == (2.5, 0.25, 0.0)
    assert (found.retry.give_up_after, found.retry.retry_exit_codes) == (7200.0, (75, 76))
    assert found.agent.state_dir == Path("/srv/state")
    assert found.processor.command == ("/bin/cp", "{path}", "/dev/null")
    assert (found.validation.max_bytes, found.history.max_bytes) == (1000, 3 << 20)
    assert found.http.metrics_port == 8080


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_worker": 1}, "there is no setting 'max_worker'; did you mean 'max_workers'?"),
        ({"max_bytes": 1}, "did you mean 'validation_max_bytes' or 'history_max_bytes'?"),
        ({"xyzzy": 1}, "there is no setting 'xyzzy'; there are allowed_hosts, api, command, "),
        ({"handoff_dir": "/srv"}, "handoff_dir is the path that Watcher gets; leave it out here"),
    ],
)
def test_unknown_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    """With the nearest name that there is."""
    with pytest.raises(TypeError, match=re.escape(words)):
        Config(**settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"timeout": -1}, 'timeout = -1: not a duration; write a duration from "10ms" to "7d"'),
        ({"timeout": float("nan")}, "timeout = NaN: not a duration"),
        ({"timeout": float("inf")}, "timeout = Infinity: not a duration"),
        ({"timeout": True}, "timeout = true: not a string"),
        ({"timeout": 10_000_000}, "timeout = "),
        ({"max_workers": "8"}, 'max_workers = "8": not a whole number'),
        ({"command": "cp {path}"}, 'command = "cp {path}": not a list'),
        ({"handler": 3}, 'handler = 3: not a string; write "module:function"'),
        ({"handler": print, "command": ["x", "{path}"]}, "handler and command are both given"),
    ],
)
def test_bad_values_are_refused_where_they_are_given(settings: dict[str, Any], words: str) -> None:
    """With what would be right."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        Config(**settings)


def test_all_bad_values_are_told_at_once() -> None:
    """One line each."""
    with pytest.raises(ConfigError) as caught:
        Config(max_workers=0, timeout="soon", look_ahead=8)

    assert [line.split(" = ")[0] for line in caught.value.problems] == ["max_workers", "timeout"]


def test_what_only_shows_together_is_refused_by_the_watcher(handoff: Path) -> None:
    """It alone knows the directory."""
    with pytest.raises(ConfigError, match=r"out_dir = .*the same directory as agent.handoff_dir"):
        Watcher(handoff, Config(out_dir=handoff))


@pytest.mark.parametrize("path", ["", "~/in"])
def test_no_directory_is_refused(path: str) -> None:
    """In one line."""
    with pytest.raises(ConfigError) as caught:
        Watcher(path)

    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "command"),
        ({"handler": "jobs:handle"}, "python"),
        ({"handler": print}, "python"),
        ({"command": ["x", "{path}"]}, "command"),
        ({"handler": print, "command": ["x", "{path}"], "kind": "command"}, "command"),
    ],
)
def test_the_kind_follows_from_what_is_given(settings: dict[str, Any], kind: str, handoff: Path) -> None:
    """Unless it is given as well."""
    assert merged(handoff, Config(**settings)).processor.kind == kind


class Handling:
    def __call__(self, file: File) -> None: ...


@pytest.mark.parametrize(
    ("handler", "reference"),
    [
        (print, "builtins:print"),
        (lambda file: None, f"{__name__}:_lambda_"),
        (Handling(), f"{__name__}:Handling"),
        (functools.partial(print, end=""), "functools:partial"),
    ],
)
def test_whatever_can_be_called_is_a_handler(handler: Any, reference: str, handoff: Path) -> None:
    """Status files show a name for it."""
    assert merged(handoff, Config(handler=handler)).processor.handler == reference


def test_a_coroutine_function_is_refused() -> None:
    """Calling it does nothing."""

    async def handle(file: File) -> None: ...

    with pytest.raises(ConfigError, match="is a coroutine function; a plain function is expected"):
        Config(handler=handle)


def test_a_file_is_read_as_the_agent_reads_it(
    tmp_path: Path, handoff: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Relative to where it is; keywords beat it, and the watched directory is that of the watcher."""
    path = tmp_path / "agent.toml"
    path.write_text(
        '[agent]\nhandoff_dir = "/srv/other"\nstate_dir = "here"\nmax_workers = 7\nmax_worker = 3\n'
        '[processor]\ncommand = ["./x", "{path}"]\n[retry]\nmax_attempts = 3\n'
    )
    found = merged(handoff, Config.from_file(path, max_attempts=5, handler=print))
    with caplog.at_level(logging.WARNING):
        Watcher(handoff, Config.from_file(path))

    assert (found.agent.handoff_dir, found.agent.state_dir) == (handoff, tmp_path / "here")
    assert found.processor.out_dir == handoff / "out"
    assert (found.agent.max_workers, found.retry.max_attempts) == (7, 5)
    assert (found.processor.kind, found.processor.command) == ("python", (str(tmp_path / "x"), "{path}"))
    assert 'did you mean "max_workers"?' in caplog.text


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """At once."""
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        Config.from_file(tmp_path / "no.toml")


def test_the_environment_is_not_looked_at(handoff: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to the program around."""
    monkeypatch.setenv("CONDUCTOR_LOOP_AGENT_MAX_WORKERS", "9")
    monkeypatch.setenv("CONDUCTOR_LOOP_NONSENSE", "1")

    assert merged(handoff, Config()).agent.max_workers == 4
