"""
From the rename into the handoff directory to the start of the command.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from bench import sizes
from bench.agent import Agent
from bench.measure import BenchError, Measure, at_most, percentile
from bench.workbench import Workbench, write_intents

JITTER = 0.25  #: of the interval either way: no beat with anything periodic inside the agent


def latency(bench: Workbench) -> list[Measure]:
    """
    Measure the latency plain, and right after something else was moved out of the directory.
    """
    plain = [_run(bench, move_out=False) for _ in range(bench.sizes.repeats)]
    moving = [_run(bench, move_out=True) for _ in range(bench.sizes.repeats)]
    return [
        *_measures("rename-in → command started", plain),
        *_measures("same, right after a move-out", moving),
    ]


def _measures(what: str, runs: list[list[float]]) -> list[Measure]:
    bounds = ((50, sizes.LATENCY_P50_MS), (99, sizes.LATENCY_P99_MS))
    measures = [
        Measure(
            "latency",
            f"{what}, p{percent}",
            "ms",
            tuple(percentile(run, percent) for run in runs),
            at_most(bound),
        )
        for percent, bound in bounds
    ]
    return [*measures, Measure("latency", f"{what}, worst", "ms", tuple(max(run) for run in runs))]


def _run(bench: Workbench, *, move_out: bool) -> list[float]:
    """
    Return the latency of every file in milliseconds.
    """
    directory = bench.fresh(bench.disk, "latency")
    log = directory / "started.log"
    log.touch()
    agent = Agent(
        directory,
        {"kind": "command", "command": [os.fspath(bench.programs.stamp), os.fspath(log), "{path}"]},
    )
    staging = directory / "staging"
    staging.mkdir()
    count = int(bench.sizes.latency_seconds * bench.sizes.latency_files_per_second)
    names = write_intents(staging, count)
    bystander = Bystander(staging, agent.handoff) if move_out else None
    with agent.running():
        agent.wait_ready()
        dropped = _drop(bench, names, staging, agent.handoff, bystander)
        agent.wait_until(lambda: agent.filed_count() == count, f"{count} files filed", timeout=60)
        agent.stop()
    latencies = _match(dropped, log)
    kind = "after move-outs" if move_out else "plain"
    bench.say(
        f"latency {kind}: p50 {percentile(latencies, 50):.1f} ms, p99 {percentile(latencies, 99):.1f} ms"
    )
    return latencies


class Bystander:
    """
    A file that matches no pattern and goes in and out of the handoff directory.
    """

    def __init__(self, outside: Path, handoff: Path) -> None:
        self._outside = outside / "bystander.txt"
        self._inside = handoff / "bystander.txt"
        self._outside.touch()

    def move_in(self) -> None:
        self._outside.rename(self._inside)

    def move_out(self) -> None:
        self._inside.rename(self._outside)


def _drop(
    bench: Workbench, names: list[str], staging: Path, handoff: Path, bystander: Bystander | None
) -> dict[str, int]:
    """
    Rename the files in at the measured pace; return the moment of each in nanoseconds.
    """
    interval = 1 / bench.sizes.latency_files_per_second
    dice = random.Random(1)  # the same arrivals in every run
    dropped = {}
    begin = time.monotonic()
    for turn, name in enumerate(names):
        if bystander:
            bystander.move_in()
        _sleep_until(begin + interval * (turn + dice.uniform(-JITTER, JITTER)))
        if bystander:
            bystander.move_out()
        dropped[name] = time.time_ns()
        (staging / name).rename(handoff / name)
    return dropped


def _sleep_until(moment: float) -> None:
    time.sleep(max(moment - time.monotonic(), 0))


def _match(dropped: dict[str, int], log: Path) -> list[float]:
    """
    Return milliseconds from drop to start, by the lines that the commands wrote.
    """
    started: dict[str, int] = {}
    for line in log.read_text(encoding="ascii").splitlines():
        moment, name = line.split()
        if name in started:
            raise BenchError(f"latency: {name} was started twice")
        started[name] = int(moment)
    if started.keys() != dropped.keys():
        raise BenchError(f"latency: {len(dropped)} files dropped, {len(started)} started")
    return [(started[name] - moment) / 1e6 for name, moment in dropped.items()]
