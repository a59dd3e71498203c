"""
Errors as answers: the command line makes the same error of them again.
"""

from __future__ import annotations

from dataclasses import replace

from conductor_loop.errors import (
    BusyError,
    ConductorError,
    ConfigError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    StoreError,
    TimedOutError,
    UnreachableError,
    UsageError,
)
from conductor_loop.http import answer
from conductor_loop.http.answer import Answer

#: The first class that fits decides.
_STATUSES: tuple[tuple[type[ConductorError], int], ...] = (
    (UsageError, 400),
    (PermissionDeniedError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (ConfigError, 422),
    (BusyError, 503),
    (StoreError, 503),
    (TimedOutError, 503),
    (UnreachableError, 503),
    (ConductorError, 500),
)


def problem(error: ConductorError) -> Answer:
    """
    Return the answer that says what is wrong; where asking again helps, it says when.
    """
    status = next(status for cls, status in _STATUSES if isinstance(error, cls))
    reply = answer.error(status, str(error), kind=error.kind, exit_code=error.exit_code)
    if isinstance(error, BusyError):
        return replace(reply, headers={**reply.headers, "Retry-After": "1"})
    return reply
