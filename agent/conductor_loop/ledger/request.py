"""
Messages to the ledger that are answered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from conductor_loop.errors import BusyError, ConductorError, StoreError
from conductor_loop.ledger.page import Page
from conductor_loop.runtime.deadline import Deadline

Answer = TypeVar("Answer")

_LOOK = 0.2  #: seconds between two looks whether the ledger is still there to answer


class Request(Generic[Answer]):
    """
    A message that somebody waits to be answered, and that is withdrawn if it was not begun in time.

    Args:
        what: is asked for, as the subject of a sentence.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._future: Future[Answer] = Future()

    def begin(self) -> bool:
        """
        Tell whether it is still wanted; if so, it cannot be withdrawn any more. Called once.
        """
        return self._future.set_running_or_notify_cancel()

    def answer(self, answer: Answer) -> None:
        """
        Say that it is done.
        """
        self._future.set_result(answer)

    def refuse(self, error: ConductorError) -> None:
        """
        Say why it is not done.
        """
        self._future.set_exception(error)

    def wait(self, seconds: float, alive: Callable[[], bool]) -> Answer:
        """
        Wait for the answer.

        Args:
            alive: tells whether there is somebody to answer.

        Raises:
            BusyError: it was not begun, and will not be.
            StoreError: it was begun, and is done once the store can be written.
            ConductorError: why it is not done.
        """
        deadline, present = Deadline.after(seconds), True
        while present and not deadline.expired:
            present = alive()  # before the look, for the last answers are given before the end
            with contextlib.suppress(TimeoutError):
                return self._future.result(min(_LOOK, deadline.remaining()))
        if self._future.cancel():
            raise BusyError(f"{self._what} was not begun: the agent is busy or stops; ask again")
        if not self._future.done():
            raise StoreError(f"{self._what} waits for the store; it is done once that can be written")
        return self._future.result()


def served(handle: Callable[[Any, Page], None]) -> Callable[[Request[Any], Page], None]:
    """
    Return a handler of requests that are still wanted; what it raises is the answer.
    """

    def serve(request: Request[Any], page: Page) -> None:
        if not request.begin():
            return
        try:
            handle(request, page)
        except ConductorError as error:
            request.refuse(error)

    return serve
