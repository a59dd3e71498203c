"""
The agent, held before its recovery: `held_agent.py SIGN ARGUMENT...` runs it with the ARGUMENTs, and it has opened its
store and listens, but goes on only once the file SIGN is gone.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from conductor_loop.cli import main
from conductor_loop.ledger.restore import Restorer
from waiting import wait_until


def hold(sign: str) -> None:
    """
    Have recovery wait until the sign is gone.
    """
    recover = Restorer.__call__

    def held(*args: Any) -> None:
        wait_until(lambda: not os.path.exists(sign), timeout=30)
        recover(*args)

    Restorer.__call__ = held  # type: ignore[method-assign]


if __name__ == "__main__":
    hold(sys.argv.pop(1))
    sys.exit(main())
