"""
What single parts take out of the configuration.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypedDict

from conductor_loop import __version__
from conductor_loop.config import Config, environ
from conductor_loop.errors import ConfigError
from conductor_loop.ledger.places import Paths
from conductor_loop.model import Author
from conductor_loop.work.attempt import Attempter
from conductor_loop.work.handler import Handler
from conductor_loop.work.process import Abort
from conductor_loop.work.processor import Processor
from conductor_loop.work.processors import make_processor
from conductor_loop.work.retry import RetryPolicy
from conductor_loop.work.validate import Validator


def make_attempter(config: Config, abort: Abort, handler: Handler | None = None) -> Attempter:
    """
    Return what makes attempts.

    Args:
        handler: called with each file instead of what the configuration names.

    Raises:
        ConfigError: if the schema or the handler cannot be used.
    """
    return Attempter(
        validator=validator_of(config),
        processor=processor_of(config, abort, handler),
        retry=RetryPolicy(
            max_attempts=config.retry.max_attempts,
            give_up_after=config.retry.give_up_after,
            initial_delay=config.retry.initial_delay,
            max_delay=config.retry.max_delay,
            retry_exit_codes=frozenset(config.retry.retry_exit_codes),
        ),
        reject_after=config.agent.reject_after,
        out_dir=str(config.processor.out_dir),
        min_free_bytes=config.agent.min_free,
        author=author_of(config),
    )


def prove(config: Config) -> list[str]:
    """
    Return what is wrong with what the configuration names: the schema, the handler. Touches neither network nor store.
    """
    abort = Abort()
    problems: list[str] = []
    makers: tuple[Callable[[Config], object], ...] = (validator_of, partial(processor_of, abort=abort))
    for make in makers:
        try:
            make(config)
        except ConfigError as error:
            problems.extend(error.problems)
    abort.close()
    return problems


def validator_of(config: Config) -> Validator:
    """
    Return what tells acceptable files from others.

    Raises:
        ConfigError: if the schema cannot be used.
    """
    return Validator(
        schema=config.validation.schema,
        max_bytes=config.validation.max_bytes,
        max_depth=config.validation.max_depth,
    )


def processor_of(config: Config, abort: Abort, handler: Handler | None = None) -> Processor:
    """
    Return what is done with a file.

    Raises:
        ConfigError: if the handler cannot be used.
    """
    processor = config.processor
    return make_processor(
        kind=processor.kind,
        command=processor.command,
        structured=processor.mode == "structured",
        handler=handler or processor.handler,
        out_dir=str(processor.out_dir),
        timeout=processor.timeout,
        kill_grace=processor.kill_grace,
        output_limit=processor.output_limit,
        environ=without_settings(environ()),
        abort=abort,
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


def own_folders(config: Config) -> list[str]:
    """
    Return the names of our own folders in the handoff directory, which a wide pattern matches.
    """
    paths = paths_of(config)
    folders = (
        paths.work,
        paths.processed,
        paths.failed,
        paths.status,
        config.agent.state_dir,
        config.processor.out_dir,
    )
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


def command_name(config: Config) -> str:
    """
    Return what is run on a file, as metrics name it.
    """
    return os.path.basename(processor_name(config))


class Keep(TypedDict):
    """
    Seconds that files are kept; 0 is for ever.
    """

    keep_processed: float
    keep_failed: float
    keep_status: float


def keep_seconds(config: Config) -> Keep:
    """
    Return how long files are kept, by the names that the retention gives them.
    """
    files = config.files
    return {
        "keep_processed": files.keep_processed,
        "keep_failed": files.keep_failed,
        "keep_status": files.keep_status,
    }
