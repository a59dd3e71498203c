"""
`conductor-loop run`: the agent in the foreground.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from conductor_loop import __version__, logs
from conductor_loop.cli.agent_client import base_url
from conductor_loop.cli.session import Session
from conductor_loop.cli.streams import tell
from conductor_loop.cli.terminal import columns, file_printer
from conductor_loop.config import Config


@click.command()
@click.option("--once", is_flag=True, help="Work off what is there, retries included, and exit.")
@click.pass_obj
def run(session: Session, *, once: bool) -> int:
    """
    Run the agent in the foreground.

    Prints a line for each file as it ends. SIGTERM or Ctrl-C finishes running work first, a second one
    stops at once. With --once the exit code is 0 if all files were processed, 1 if some failed or were rejected.
    """
    loaded = session.load()
    logs.setup(loaded.config.log.level)
    tell([f"warning: {warning}" for warning in loaded.warnings], err=True)
    # SQLAlchemy and the server are behind this; `--help` does not need them.
    from conductor_loop import app  # noqa: PLC0415

    return app.run(
        loaded.config,
        load=session.load,
        once=once,
        show=file_printer(),
        started=lambda: tell([welcome(loaded.config, once=once)]),
    )


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
