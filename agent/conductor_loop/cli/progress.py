"""
What `run` prints: where to look, and files as they end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import click

from conductor_loop import __version__, clock
from conductor_loop.cli.agent_client import base_url
from conductor_loop.cli.streams import tell
from conductor_loop.cli.terminal import COLOURS, columns, wants_colour
from conductor_loop.config import Config
from conductor_loop.model import Filed, display_name


def welcome(config: Config, *, once: bool) -> str:
    """
    Return where to look while the agent runs.
    """
    return columns(_places(config, once=once))


def _places(config: Config, *, once: bool) -> Iterator[tuple[str, object]]:
    agent = config.agent
    yield f"conductor-loop {__version__}", f'agent "{agent.name}"'
    yield "  drop files into", f"{agent.handoff_dir}/  ({agent.pattern})"
    yield "  outputs", f"{config.processor.out_dir}/"
    yield "  done files", f"{agent.processed_dir}/"
    yield "  bad files", f"{agent.failed_dir}/"
    yield "  what happened", f"{agent.status_dir}/"
    if config.http.metrics_port:
        url = base_url(config.http)
        yield "  metrics", f"{url}/metrics  {url}/metrics/prometheus"
        yield "  health", f"{url}/health"
    if not once:
        yield "  to stop", "Ctrl-C: running work is finished; again: at once"


def file_printer() -> Callable[[Sequence[Filed]], None]:
    """
    Return what prints one line per file; where nobody reads them any more they are dropped.
    """
    colour = wants_colour()

    def show(files: Sequence[Filed]) -> None:
        tell(["\n".join(file_line(filed, colour=colour) for filed in files)], colour=colour)

    return show


def file_line(filed: Filed, *, colour: bool) -> str:
    """
    Return what happened to a file: time, outcome, name, why, and the seconds of its last run.
    """
    outcome = f"{filed.outcome:<9}"
    words = [
        clock.rfc3339(filed.finished_at),
        click.style(outcome, fg=COLOURS[filed.outcome]) if colour else outcome,
        display_name(filed.name),
        display_name(f"{filed.kind}: {filed.message}") if filed.kind else "",
        f"(filed as {display_name(filed.filed_as)})" if filed.filed_as not in ("", filed.name) else "",
        "" if filed.duration is None else f"{filed.duration:.3f}s",
    ]
    return " ".join(word for word in words if word)
