"""
The agent with a sampler inside, for machines without py-spy: `sampled.py STACKS ARGUMENT...` runs the agent
with the ARGUMENTs and writes all its threads' stacks to STACKS, one "thread;frame;frame count" a line.

The sampler needs the interpreter to take a sample, so code that holds it for long is seen less than it runs, and a
function that waits outside Python, for a lock or a queue, looks as if it ran.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from conductor_loop.cli import main

INTERVAL_SECONDS = 0.004


def sample(stacks: Counter[str], stop: threading.Event) -> None:
    """
    Count every thread's stack again and again until `stop`.
    """
    own = threading.get_ident()
    while not stop.wait(INTERVAL_SECONDS):
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            if ident != own:
                stack = ";".join(reversed(list(_frames(frame))))
                stacks[f"{names.get(ident, 'unknown')};{stack}"] += 1


def _frames(frame: FrameType | None) -> Iterator[str]:
    while frame:
        code = frame.f_code
        yield f"{code.co_qualname} ({'/'.join(Path(code.co_filename).parts[-3:])}:{frame.f_lineno})"
        frame = frame.f_back


if __name__ == "__main__":
    target = Path(sys.argv.pop(1))
    counted: Counter[str] = Counter()
    done = threading.Event()
    sampler = threading.Thread(target=sample, args=(counted, done), daemon=True)
    sampler.start()
    try:
        main()
    finally:
        done.set()
        sampler.join()
        target.write_text("".join(f"{stack} {count}\n" for stack, count in counted.items()), encoding="utf-8")
