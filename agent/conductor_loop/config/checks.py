"""
Checks that look at several keys at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conductor_loop.config.settings import Config
from conductor_loop.config.units import format_duration

PLACEHOLDERS = ("path", "name", "out_dir", "id", "attempt")


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Something wrong with keys that are each right by themselves.

    Args:
        keys: dotted names of the keys that it is about, the one to complain of first.
        wrong: what is wrong; what would be right.
        fatal: False for a warning.
    """

    keys: tuple[str, ...]
    wrong: str
    fatal: bool = True


def findings(config: Config) -> Iterator[Finding]:
    """
    Yield everything that is wrong across keys.
    """
    yield from _directories(config)
    yield from _processor(config)
    yield from _waits(config)
    if config.store.url:
        yield Finding(("store.url",), "PostgreSQL comes with a later version; leave it empty for SQLite")
    if config.http.web_config:
        # Serving without what it asks for would open what it closes.
        wrong = (
            "TLS and passwords come with a later version; leave it empty, keep http.metrics_host on a loopback "
            "address, and let a reverse proxy do both"
        )
        yield Finding(("http.web_config",), wrong)
    if config.validation.schema not in ("intent", "none") and not Path(config.validation.schema).is_file():
        yield Finding(("validation.schema",), "no such file; name a JSON Schema file that is there")


def _directories(config: Config) -> Iterator[Finding]:
    seen: dict[Path, str] = {}
    for key, path in _places(config).items():
        if path in seen:
            wrong = f"the same directory as {seen[path]}; each needs a directory of its own"
            yield Finding((key, seen[path]), wrong)
        seen.setdefault(path, key)
    work = config.agent.work_dir
    for key, path in _places(config).items():
        # Recovery takes whatever it finds under work_dir for a claimed file.
        if work in path.parents:
            yield Finding(
                (key, "agent.work_dir"), f"inside agent.work_dir ({work}); choose a place outside it"
            )


def _places(config: Config) -> dict[str, Path]:
    agent = config.agent
    return {
        "agent.handoff_dir": agent.handoff_dir,
        "agent.state_dir": agent.state_dir,
        "agent.processed_dir": agent.processed_dir,
        "agent.failed_dir": agent.failed_dir,
        "agent.status_dir": agent.status_dir,
        "agent.work_dir": agent.work_dir,
        "processor.out_dir": config.processor.out_dir,
    }


def _processor(config: Config) -> Iterator[Finding]:
    processor = config.processor
    if processor.kind == "python" and not processor.handler:
        yield Finding(
            ("processor.handler", "processor.kind"),
            'missing for kind "python"; write "module:function"',
        )
    if processor.kind == "command":
        yield from _command(processor.command)


def _command(command: tuple[str, ...]) -> Iterator[Finding]:
    keys = ("processor.command", "processor.kind")
    if not command or not command[0]:
        yield Finding(keys, 'names no program; write a list such as ["porch", "-intent", "{path}"]')
        return
    words = [word for argument in command for word in re.findall(r"\{([a-z_]+)\}", argument)]
    known = ", ".join(f"{{{word}}}" for word in PLACEHOLDERS)
    for word in words:
        if word not in PLACEHOLDERS:
            yield Finding(keys, f"{{{word}}} is not replaced by anything; there are {known}", fatal=False)
    if "path" not in words:
        wrong = "has no {path} in it, so the command is not told which file to work on; add it"
        yield Finding(keys, wrong, fatal=False)


def _waits(config: Config) -> Iterator[Finding]:
    retry, agent = config.retry, config.agent
    if retry.initial_delay > retry.max_delay:
        most = format_duration(retry.max_delay)
        wrong = f"longer than retry.max_delay ({most}); write at most that"
        yield Finding(("retry.initial_delay", "retry.max_delay"), wrong)
    for name in ("settle", "reject_after"):
        if getattr(agent, name) > agent.settle_max:
            most = format_duration(agent.settle_max)
            wrong = f"longer than agent.settle_max ({most}); write at most that"
            yield Finding((f"agent.{name}", "agent.settle_max"), wrong)
