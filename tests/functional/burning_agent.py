"""
The agent in a busy interpreter: `burning_agent.py THREADS SIGN ARGUMENT...` runs it with the ARGUMENTs; so many threads
burn CPU from when the file SIGN is there until it is gone.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from conductor_loop.cli import main

burning = True


def burn() -> None:
    """
    Hold the interpreter as long as it lets us, without a system call.
    """
    count = 0
    while burning:
        count += 1


def burn_while(sign: str, count: int) -> None:
    """
    Burn while the sign is there.
    """
    global burning  # noqa: PLW0603 - a plain global is what a busy loop can look at without any call
    while not os.path.exists(sign):
        time.sleep(0.02)
    for _ in range(count):
        threading.Thread(target=burn, daemon=True).start()
    while os.path.exists(sign):
        time.sleep(0.1)
    burning = False


if __name__ == "__main__":
    count, sign = int(sys.argv.pop(1)), sys.argv.pop(1)
    threading.Thread(target=burn_while, args=(sign, count), daemon=True).start()
    sys.exit(main())
