"""
The agent in a busy interpreter: `burning_agent.py THREADS SIGN ARGUMENT...` runs it with the ARGUMENTs while so many
threads burn CPU, until the file SIGN is gone.
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


def stop_without(sign: str) -> None:
    """
    End the burning once the sign is gone.
    """
    global burning  # noqa: PLW0603 - a plain global is what a busy loop can look at without any call
    while os.path.exists(sign):
        time.sleep(0.1)
    burning = False


if __name__ == "__main__":
    for _ in range(int(sys.argv.pop(1))):
        threading.Thread(target=burn, daemon=True).start()
    threading.Thread(target=stop_without, args=(sys.argv.pop(1),), daemon=True).start()
    sys.exit(main())
