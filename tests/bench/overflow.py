"""
More files than the kernel's event queue holds, dropped while the agent hardly gets to run.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from bench import rows
from bench.agent import Agent
from bench.measure import Judged, Measure, at_least
from bench.throughput import PYTHON, SLOWEST_FILES_PER_SECOND
from bench.workbench import Workbench, write_intents

BUSY_PROGRAM = Path(__file__).with_name("busy.py")
LINGER_SECONDS = 2.0  #: the burning goes on for this long after the last drop


def overflow(bench: Workbench) -> list[Measure]:
    """
    Count the files that are filed in the end; one that is not is a lost one.
    """
    count = bench.sizes.overflow_files
    filed, seconds = zip(*(_run(bench, count) for _ in range(bench.sizes.repeats)), strict=True)
    what = f"filed of {count:,}, {bench.sizes.overflow_busy_threads} busy threads"
    return [
        Measure("overflow", what, "files", filed, at_least(count, Judged.WORST)),
        Measure("overflow", "first drop → last filed", "s", seconds),
    ]


def _run(bench: Workbench, count: int) -> tuple[float, float]:
    directory = bench.fresh(bench.disk, "overflow")
    program = (sys.executable, os.fspath(BUSY_PROGRAM), str(bench.sizes.overflow_busy_threads))
    agent = Agent(directory, PYTHON, program=program)
    staging = directory / "staging"
    staging.mkdir()
    names = write_intents(staging, count)
    with agent.running():
        agent.wait_ready()
        begin = rows.now_ns()
        for name in names:
            (staging / name).rename(agent.handoff / name)
        # The busy time is part of what is measured, so it has to pass, whatever the agent reaches in it.
        time.sleep(LINGER_SECONDS)
        agent.close_stdin()
        filed = _wait_for_all(agent, count)
        agent.stop()
    seconds = (agent.last_filed_ns() - begin) / 1e9
    bench.say(f"overflow: {filed:,} of {count:,} filed in {seconds:.1f} s")
    return filed, seconds


def _wait_for_all(agent: Agent, count: int) -> int:
    """
    Return how many files are filed when all are, or when there is no more progress for a while.
    """
    deadline = time.monotonic() + 60 + count / SLOWEST_FILES_PER_SECOND
    filed, changed = agent.filed_count(), time.monotonic()
    while filed < count and time.monotonic() < min(deadline, changed + 60):
        time.sleep(0.25)
        found = agent.filed_count()
        if found != filed:
            filed, changed = found, time.monotonic()
    return filed
