"""
The python processor: a function of the user's, called in the worker's own thread.
"""

from __future__ import annotations

import importlib
import inspect
import math
import re
import time
import traceback
from collections.abc import Callable
from typing import Any

from conductor_loop import clock
from conductor_loop.errors import ConfigError
from conductor_loop.model import Kind, Run, Succeeded
from conductor_loop.work.capture import HeadTail
from conductor_loop.work.processor import Failure, File, Result, Spawned

Handler = Callable[[File], Any]


class Retry(Exception):  # noqa: N818 - raised to ask for something; the name is part of the public interface
    """
    Raised by a handler to have its file processed again later.

    Args:
        message: why, for the history.
        delay: seconds until then, at most the configured longest delay; None leaves it to the retry policy.
    """

    delay: float | None = None

    def __init__(self, message: str = "", *, delay: float | None = None) -> None:
        super().__init__(message)
        if delay is not None and (math.isnan(delay) or delay < 0):
            raise ValueError(f"delay={delay!r}: seconds, 0 or more, are expected")
        self.delay = delay


class HandlerProcessor:
    """
    Calls `handler` with each file. What it returns does not matter, but a text becomes the file's message.

    A handler cannot be stopped from outside: it is to look at `file.deadline` if it may take long.

    Args:
        timeout: seconds until that deadline.
        output_limit: bytes of a traceback that are kept.
    """

    cooperative = True

    def __init__(self, handler: Handler, *, timeout: float, output_limit: int) -> None:
        self.timeout = timeout
        self._handler = handler
        self._output_limit = output_limit

    def run(self, file: File, spawned: Spawned) -> Result:
        started_at, began = clock.now_us(), time.monotonic()
        output = HeadTail(self._output_limit)
        ending = self._call(file, output)
        run = Run(
            started_at=started_at,
            duration=time.monotonic() - began,
            output=output.value(),
            output_bytes=output.total,
        )
        return Result(ending, run)

    def _call(self, file: File, output: HeadTail) -> Succeeded | Failure:
        try:
            returned = self._handler(file)
        except Retry as error:
            return Failure(Kind.HANDLER_ERROR, _words(error), asked=True, asked_delay=error.delay)
        # Whatever a user's function raises, SystemExit included, is the failure of one file, not of the agent.
        except BaseException as error:  # noqa: BLE001
            output.feed("".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace"))
            return Failure(Kind.HANDLER_ERROR, _words(error))
        return Succeeded(returned if isinstance(returned, str) else "")


def load_handler(reference: str) -> Handler:
    """
    Import the function that `reference` ("module:function") names.

    Raises:
        ConfigError: naming what is missing.
    """
    module_name, colon, function_name = reference.partition(":")
    if not (module_name and colon and function_name.isidentifier()):
        raise _unusable(reference, 'expected "module:function"')
    try:
        module = importlib.import_module(module_name)
    # Importing runs the user's code, which may raise anything.
    except (Exception, SystemExit) as error:
        raise _unusable(reference, f"importing {module_name} failed: {_words(error)}") from error
    handler = getattr(module, function_name, None)
    if not callable(handler):
        what = "has no" if handler is None else "has something that cannot be called as"
        raise _unusable(reference, f"{module_name} ({module.__file__}) {what} {function_name}")
    _refuse_coroutine(handler, reference)
    return handler  # type: ignore[no-any-return]  # a callable is all that can be known


def refer_to(handler: Handler) -> str:
    """
    Return the reference that stands for a function itself, in status files for one; it need not be importable by it.

    Raises:
        ConfigError: if it cannot be a handler.
    """
    # What is callable need not be a function, and what has no name has that of its class.
    module = getattr(handler, "__module__", None) or type(handler).__module__
    name = getattr(handler, "__name__", None) or type(handler).__name__
    reference = f"{module}:" + re.sub(r"\W", "_", name)
    _refuse_coroutine(handler, reference)
    return reference


def _refuse_coroutine(handler: Handler, reference: str) -> None:
    if inspect.iscoroutinefunction(handler):
        raise _unusable(reference, "is a coroutine function; a plain function is expected")


def _unusable(reference: str, why: str) -> ConfigError:
    return ConfigError(f"processor.handler: {reference!r}: {why}")


def _words(error: BaseException) -> str:
    if isinstance(error, Retry):
        return " ".join(map(str, error.args)) or "the handler asked for another attempt"
    return traceback.format_exception_only(error)[-1].strip()
