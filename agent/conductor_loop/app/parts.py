"""
What single parts take out of the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping

from conductor_loop import __version__
from conductor_loop.config import Config, environ
from conductor_loop.errors import ConfigError
from conductor_loop.ledger.places import Paths
from conductor_loop.ledger.status import Author
from conductor_loop.work.attempt import Attempter
from conductor_loop.work.process import Abort
from conductor_loop.work.processors import make_processor
from conductor_loop.work.retry import RetryPolicy
from conductor_loop.work.validate import Validator


def make_attempter(config: Config, abort: Abort) -> Attempter:
    processor = config.processor
    return Attempter(
        validator=Validator(
            schema=config.validation.schema,
            max_bytes=config.validation.max_bytes,
            max_depth=config.validation.max_depth,
        ),
        processor=make_processor(
            kind=processor.kind,
            command=processor.command,
            structured=processor.mode == "structured",
            handler=processor.handler,
            out_dir=str(processor.out_dir),
            timeout=processor.timeout,
            kill_grace=processor.kill_grace,
            output_limit=processor.output_limit,
            environ=without_settings(environ()),
            abort=abort,
        ),
        retry=RetryPolicy(
            max_attempts=config.retry.max_attempts,
            give_up_after=config.retry.give_up_after,
            initial_delay=config.retry.initial_delay,
            max_delay=config.retry.max_delay,
            retry_exit_codes=frozenset(config.retry.retry_exit_codes),
        ),
        reject_after=config.agent.reject_after,
        out_dir=str(processor.out_dir),
        min_free_bytes=config.agent.min_free,
    )


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """
    Return the environment without the agent's own settings, which may hold secrets.
    """
    return {name: value for name, value in environment.items() if not name.startswith("CONDUCTOR_LOOP_")}


def paths_of(config: Config) -> Paths:
    agent = config.agent
    return Paths(
        handoff=agent.handoff_dir,
        work=agent.work_dir,
        processed=agent.processed_dir,
        failed=agent.failed_dir,
        status=agent.status_dir,
    )


def prove(config: Config) -> list[str]:
    """
    Return what is wrong with what the configuration names: the schema, the handler. Touches neither network nor store.
    """
    problems: list[str] = []
    abort = Abort()
    try:
        make_attempter(config, abort)
    except ConfigError as error:
        problems.extend(error.problems)
    finally:
        abort.close()
    return problems


def own_folders(config: Config) -> list[str]:
    """
    Return the names of our own folders in the handoff directory, which a wide pattern matches.
    """
    paths = paths_of(config)
    folders = (paths.work, paths.processed, paths.failed, paths.status)
    return [path.name for path in folders if path.parent == paths.handoff]


def author_of(config: Config) -> Author:
    processor = config.processor
    return Author(
        processed_by=f"conductor-loop {__version__} ({config.agent.name})",
        mode=processor.mode if processor.kind == "command" else processor.kind,
        porch_path=processor_name(config),
    )


def processor_name(config: Config) -> str:
    return config.processor.command[0] if config.processor.kind == "command" else config.processor.handler
