"""
Every error that ends a command, one class per decision that a caller takes.

What happens to a single file is never one of these: it is an outcome.
"""

from __future__ import annotations

from collections.abc import Iterable


class ConductorError(Exception):
    """
    Something went wrong that the person at the keyboard can mend.
    """

    exit_code = 1
    kind = "error"


class ConfigError(ConductorError):
    """
    The configuration cannot be used as it is.

    Args:
        problems: one line each, naming file, key, value and what would be right.
        warnings: what else was noticed, and could be the cause.
    """

    exit_code = 78
    kind = "config"

    def __init__(self, *problems: str, warnings: Iterable[str] = ()) -> None:
        warnings = tuple(warnings)
        super().__init__("\n".join([*problems, *(f"warning: {line}" for line in warnings)]))
        self.problems = problems
        self.warnings = warnings


class OwnedError(ConfigError):
    """
    Another agent holds the handoff or state directory.
    """

    kind = "owned"


class StoreError(ConductorError):
    """
    The store cannot be read or written now; trying again later may help.
    """

    exit_code = 74
    kind = "store"


class CorruptStoreError(StoreError):
    """
    The store's file is damaged; trying again will not help.
    """

    kind = "store_corrupt"


class IncompatibleStoreError(ConfigError):
    """
    The store was written by a newer program that this one must not touch.
    """

    kind = "store_incompatible"


class PermissionDeniedError(ConductorError):
    """
    The user may not do this.
    """

    exit_code = 77
    kind = "permission"


class UnreachableError(ConductorError):
    """
    No agent answers.
    """

    exit_code = 3
    kind = "unreachable"


class ServiceCrashError(ConductorError):
    """
    A service ended by an exception; the agent stops so that its supervisor starts it afresh.
    """

    exit_code = 70
    kind = "crash"


class StopTimeoutError(ConductorError):
    """
    Services were still busy when the time for stopping was over.
    """

    exit_code = 70
    kind = "stop_timeout"


class ForcedStopError(ConductorError):
    """
    A second signal came while the agent was stopping.

    Args:
        exit_code: 128 and the signal's number, as a shell has it.
    """

    kind = "forced_stop"

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class UsageError(ConductorError):
    """
    The request makes no sense as it is.
    """

    exit_code = 2
    kind = "usage"


class NotFoundError(ConductorError):
    """
    There is no such thing.
    """

    kind = "not_found"


class ConflictError(ConductorError):
    """
    What is asked for does not fit the state that things are in.
    """

    kind = "conflict"


class PausedError(ConflictError):
    """
    It is refused while intake is paused, whatever file it is about.
    """

    kind = "paused"


class BusyError(ConductorError):
    """
    It cannot be done right now; asking again later helps.
    """

    kind = "busy"


class CommandAtWorkError(BusyError):
    """
    A command of conductor-loop uses the directories, and did not end in the time that it was waited for.
    """

    kind = "command_at_work"


class TimedOutError(ConductorError):
    """
    It did not happen in the time that was given.
    """

    exit_code = 6
    kind = "timed_out"
