"""
The command line: the only place that prints, and where every error becomes words and an exit code.

Every command is a module of its own that is imported when it is called: `--help` and completion need none of them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

import click

from conductor_loop import __version__
from conductor_loop.cli.lazy import Entry, LazyGroup
from conductor_loop.cli.streams import (
    escape_what_streams_lack,
    flush_streams,
    is_of_output,
    open_missing_streams,
    tell,
)
from conductor_loop.errors import ConductorError, PermissionDeniedError, StoreError, UnreachableError

USAGE, INTERNAL, INTERRUPTED = 2, 70, 130

COMMANDS = (
    Entry("check-config", "check_config", "Check a configuration."),
    Entry("completion", "completion", "Print what makes a shell complete commands and options."),
    Entry("config", "config", "Look at the configuration."),
    Entry("db", "db", "Look after the database."),
    Entry("doctor", "doctor", "Look for what is wrong around the agent."),
    Entry("drain", "drain", "Take no new files and wait until nothing runs any more."),
    Entry("files", "files", "Ask about single files, and run failed ones again."),
    Entry("health", "health", "Say whether the running agent is healthy."),
    Entry("pause", "pause", "Take no new files until `resume`."),
    Entry("reload", "reload", "Have the running agent read its configuration again."),
    Entry("resume", "resume", "Take files again after `pause` or `drain`."),
    Entry("run", "run", "Run the agent in the foreground."),
    Entry("status", "status", "Show what the running agent does."),
    Entry("top", "top", "Watch the running agent."),
)


class _Root(LazyGroup):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (StoreError, UnreachableError) as error:
            from conductor_loop.cli.session import BUILT_IN  # noqa: PLC0415 - as below

            if BUILT_IN in ctx.meta:
                error.add_note(_NO_FILE)
            raise


_NO_FILE = "no configuration file was found, so built-in defaults are used; name yours with --config FILE"


@click.group(
    cls=_Root,
    table=COMMANDS,
    context_settings={"auto_envvar_prefix": "CONDUCTOR_LOOP", "help_option_names": ["-h", "--help"]},
)
@click.option("--config", type=click.Path(readable=False), metavar="FILE", help="Configuration file (TOML).")
@click.option("--instance", metavar="NAME", help="Use /etc/conductor-loop/NAME.toml.")
@click.option(
    "--log-level",
    # As in config.LOG_LEVELS, which is too dear to import for a help text.
    type=click.Choice(["debug", "info", "warning", "error"]),
    # The variable of this name is the key log.level, which the configuration reads.
    allow_from_autoenv=False,
    help="The least important log lines that are shown.",
)
@click.version_option(__version__, prog_name="conductor-loop", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, config: str | None, instance: str | None, log_level: str | None) -> None:
    """
    Turn a directory into a reliable work queue.

    Without --config and --instance: /etc/conductor-loop/agent.toml if it exists, else built-in defaults.
    Every option also as an environment variable CONDUCTOR_LOOP_..., such as CONDUCTOR_LOOP_CONFIG.

    \b
    Exit codes: 0 ok, 1 failed, 2 usage, 3 agent not reachable, 4 unhealthy, 6 timed out waiting,
    70 internal error, 74 store unusable, 77 no permission, 78 bad configuration,
    130, 143, 129 ended by Ctrl-C, SIGTERM, SIGHUP (`run`: by a second one).
    """
    # Brings the configuration, which help and completion do not need.
    from conductor_loop.cli.session import Session  # noqa: PLC0415

    ctx.obj = Session.from_options(ctx, config=config, instance=instance, log_level=log_level)


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
        return _say("\n".join([str(exc), *getattr(exc, "__notes__", [])]), exc.exit_code)
    except PermissionError as exc:
        return _say(
            f"{exc.filename}: no permission; run as the agent's user", PermissionDeniedError.exit_code
        )
    except Exception as exc:  # noqa: BLE001 - the boundary: whatever it is, the user gets it with a code of its own
        return _unexpected(exc)
    return int(code or 0)


def _unexpected(exc: Exception) -> int:
    if isinstance(exc, OSError) and is_of_output(exc):
        return _say(f"cannot write the output: {exc.strerror}", ConductorError.exit_code)
    import traceback  # noqa: PLC0415 - as dear as all of the rest, and hardly ever needed

    words = "".join(traceback.format_exception(exc))
    return _say(f"{words}internal error: this is a bug of conductor-loop", INTERNAL)


def _say(words: str, code: int) -> int:
    tell([words], err=True)
    return code
