"""
The agent in a busy interpreter: `busy.py THREADS ARGUMENT...` burns CPU in THREADS threads until its standard
input ends, and runs the agent with the ARGUMENTs meanwhile.
"""

from __future__ import annotations

import os
import sys
import threading

from conductor_loop.cli import main

burning = True


def burn() -> None:
    """
    Hold the interpreter as long as it lets us, without a system call.
    """
    count = 0
    while burning:
        count += 1


def stop_at_end_of_input() -> None:
    """
    End the burning when the bench closes its end of the pipe.
    """
    global burning  # noqa: PLW0603 - a plain global is what a busy loop can look at without any call
    os.read(0, 1)
    burning = False


if __name__ == "__main__":
    for _ in range(int(sys.argv.pop(1))):
        threading.Thread(target=burn, daemon=True).start()
    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    sys.exit(main())
