"""
The command line: the only place that prints, and where every error becomes words and an exit code.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import click

from conductor_loop import __version__
from conductor_loop.cli.check_config import check_config
from conductor_loop.cli.db import db
from conductor_loop.cli.health import health
from conductor_loop.cli.run import run
from conductor_loop.cli.session import Session
from conductor_loop.cli.status import status
from conductor_loop.cli.terminal import escape_what_streams_lack, flush_streams, open_missing_streams, tell
from conductor_loop.config import LOG_LEVELS
from conductor_loop.errors import ConductorError, PermissionDeniedError

USAGE, INTERNAL, INTERRUPTED = 2, 70, 130


@click.group(context_settings={"auto_envvar_prefix": "CONDUCTOR_LOOP", "help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Configuration file (TOML).",
)
@click.option("--instance", metavar="NAME", help="Use /etc/conductor-loop/NAME.toml.")
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS),
    # The variable of this name is the key log.level, which the configuration reads.
    allow_from_autoenv=False,
    help="The least important log lines that are shown.",
)
@click.version_option(__version__, prog_name="conductor-loop", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, config: Path | None, instance: str | None, log_level: str | None) -> None:
    """
    Turn a directory into a reliable work queue.

    Without --config and --instance: /etc/conductor-loop/agent.toml if it exists, else built-in defaults.
    Every option also as an environment variable CONDUCTOR_LOOP_..., such as CONDUCTOR_LOOP_CONFIG.

    \b
    Exit codes: 0 ok, 1 failed, 2 usage, 3 agent not reachable, 4 unhealthy,
    70 internal error, 74 store unusable, 77 no permission, 78 bad configuration,
    130, 143, 129 ended by Ctrl-C, SIGTERM, SIGHUP (`run`: by a second one).
    """
    ctx.obj = Session.from_options(ctx, config=config, instance=instance, log_level=log_level)


for command in (run, check_config, status, health, db):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """
    Run one command and exit with its code.

    Args:
        arguments: None for those of the process.
    """
    open_missing_streams()
    escape_what_streams_lack()
    code = _run(arguments)
    flush_streams()
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = cli.main(arguments, prog_name="conductor-loop", standalone_mode=False)
    except click.ClickException as exc:
        with suppress(OSError):
            exc.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except ConductorError as exc:
        return _say(str(exc), exc.exit_code)
    except PermissionError as exc:
        return _say(
            f"{exc.filename}: no permission; run as the agent's user", PermissionDeniedError.exit_code
        )
    except Exception:  # noqa: BLE001 - the boundary: whatever it is, the user gets it with a code of its own
        return _say(f"{traceback.format_exc()}internal error: this is a bug of conductor-loop", INTERNAL)
    return int(code or 0)


def _say(words: str, code: int) -> int:
    tell([words], err=True)
    return code
