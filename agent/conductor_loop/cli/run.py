"""
`conductor-loop run`: the agent in the foreground.
"""

from __future__ import annotations

import click

from conductor_loop.cli.session import Session
from conductor_loop.cli.streams import tell


@click.command()
@click.option("--once", is_flag=True, help="Work off what is there, retries included, and exit.")
@click.pass_obj
def run(session: Session, *, once: bool) -> int:
    """
    Run the agent in the foreground.

    Prints a line for each file as it ends. SIGTERM or Ctrl-C finishes running work first, a second one
    stops at once. With --once the exit code is 0 if all files were processed, 1 if some failed or were rejected.
    """
    # They bring the configuration, which `--help` does not need.
    from conductor_loop import logs  # noqa: PLC0415
    from conductor_loop.cli.progress import file_printer, welcome  # noqa: PLC0415

    loaded = session.load()
    logs.setup(loaded.config.log.level)
    tell([f"warning: {warning}" for warning in loaded.warnings], err=True)
    # SQLAlchemy and the server are behind this; what is wrong with the configuration is said without them.
    from conductor_loop import app  # noqa: PLC0415

    return app.run(
        loaded.config,
        load=session.load,
        once=once,
        show=file_printer(),
        started=lambda: tell([welcome(loaded.config, once=once)]),
    )
