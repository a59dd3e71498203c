"""
Taking over from the agent before: its directories, and what it left running.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack

from conductor_loop.config import Config
from conductor_loop.errors import ConfigError, PermissionDeniedError
from conductor_loop.intake import mounts
from conductor_loop.ledger.locks import PATIENCE_SECONDS, DirectoryLock, Role
from conductor_loop.ledger.marks import Mark, Marks, read_boot_id
from conductor_loop.work.process import end_tree

log = logging.getLogger(__name__)


def own_state(config: Config, owner: str, stack: ExitStack, *, role: Role = Role.AGENT) -> None:
    """
    Make the state and output directories, and lock the former; a command that holds it is waited for.

    Raises:
        CommandAtWorkError: if a command goes on using them.
        ConfigError: if they cannot be used, or another agent uses them.
        PermissionDeniedError: if this user may not.
    """
    state_dir = config.agent.state_dir
    for key, path in (("agent.state_dir", state_dir), ("processor.out_dir", config.processor.out_dir)):
        try:
            path.mkdir(mode=0o770, parents=True, exist_ok=True)
        except PermissionError as error:
            raise PermissionDeniedError(
                f"{key} = {path}: no permission to make it; run as the agent's user"
            ) from error
        except OSError as error:
            raise ConfigError(f"{key} = {path}: {error.strerror}; a directory is needed here") from error
    kind = mounts.fstype_of(state_dir)
    if mounts.is_network(kind):
        raise ConfigError(
            f"agent.state_dir = {state_dir}: is on {kind}, where a database loses data; "
            "put it on a local file system"
        )
    stack.callback(DirectoryLock(state_dir, owner, role=role, patience=PATIENCE_SECONDS).close)


def end_orphans(marks: Marks) -> Sequence[Mark]:
    """
    End what a dead agent left running and wait for it; return what that was.
    """
    left_behind = marks.left_behind()
    end_processes(left_behind)
    return left_behind


def end_processes(running: Sequence[Mark]) -> None:
    boot = read_boot_id()
    for mark in running:
        same_boot = mark.boot == boot
        left = end_tree(mark.id, mark.pid if same_boot else None, mark.start_time if same_boot else None)
        if left:
            log.error("%d processes of file %s could not be ended", left, mark.id)
