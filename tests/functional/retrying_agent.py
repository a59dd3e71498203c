"""
The agent, asked to try a file again and killed at one step of that: `retrying_agent.py NUMBER STEP[:N] ARGUMENTS...` is
`conductor-loop ARGUMENTS...` that tries file NUMBER again once it works, and ends by SIGKILL at the N-th time since then
that it comes to STEP of `faulty_agent`.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from faulty_agent import plant_at, without_renameat2

from conductor_loop.cli import main
from conductor_loop.errors import BusyError
from conductor_loop.ledger.ledger import Ledger


def retry_once_started(number: int, where: str) -> None:
    """
    Have the ledger try a file again as soon as it has recovered.
    """
    start = Ledger.start

    def started(self: Ledger, *args: Any) -> None:
        start(self, *args)
        plant_at(where)
        threading.Thread(target=_ask, args=[self, number], daemon=True).start()

    Ledger.start = started  # type: ignore[method-assign]


def _ask(ledger: Ledger, number: int) -> None:
    for _ in range(100):
        try:
            ledger.retry(number)
        except BusyError:
            threading.Event().wait(0.1)
        else:
            return


if __name__ == "__main__":
    number, where = int(sys.argv.pop(1)), sys.argv.pop(1)
    if "link" in where:
        without_renameat2()
    retry_once_started(number, where)
    sys.exit(main())
