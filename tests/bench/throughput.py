"""
Files a second: the command and python processors beside the limit, a long backlog beside a short one.
"""

from __future__ import annotations

import os
import resource
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import rows, sizes
from bench.agent import Agent
from bench.measure import Measure, Target, at_least, at_most
from bench.workbench import Workbench, run_limit, write_intents

PYTHON = {"kind": "python", "handler": "bench.noop:handle"}
SLOWEST_FILES_PER_SECOND = 50  #: slower than this is given up as stuck
START_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Drain:
    """
    One agent that worked off one directory and exited.
    """

    files_per_second: float  #: from the first claim to the last filing
    exit_files_per_second: float  #: from the first claim to the end of the process
    cpu_ms_per_file: float  #: of the agent and its commands, start and stop included
    peak_rss_mib: float


def command(bench: Workbench) -> list[Measure]:
    """
    Measure the command processor beside the limit.
    """
    noop = {"kind": "command", "command": [os.fspath(bench.programs.noop), "{path}"]}
    return _beside_limit(bench, "command", noop, spawning=True, ratio=sizes.COMMAND_RATIO)


def python(bench: Workbench) -> list[Measure]:
    """
    Measure the python processor beside the limit that starts no process.
    """
    return _beside_limit(bench, "python", PYTHON, spawning=False, ratio=sizes.PYTHON_RATIO)


def backlog(bench: Workbench) -> list[Measure]:
    """
    Measure what a file costs in a long backlog and in a short one, and the peak of memory.
    """
    size = bench.sizes
    short = [
        _drain(bench, bench.disk, PYTHON, size.backlog_base_files) for _ in range(size.backlog_base_repeats)
    ]
    long = [_drain(bench, bench.disk, PYTHON, size.backlog_files) for _ in range(size.backlog_repeats)]
    short_us = tuple(1e6 / drain.files_per_second for drain in short)
    long_us = tuple(1e6 / drain.files_per_second for drain in long)
    base = statistics.median(short_us)
    return [
        Measure("backlog", f"per file, {size.backlog_base_files:,} files", "µs", short_us),
        Measure("backlog", f"per file, {size.backlog_files:,} files", "µs", long_us),
        Measure(
            "backlog",
            "per file, long ÷ short",
            "",
            tuple(cost / base for cost in long_us),
            at_most(sizes.BACKLOG_COST_RATIO),
        ),
        Measure(
            "backlog",
            f"peak RSS, {size.backlog_files:,} files",
            "MiB",
            tuple(drain.peak_rss_mib for drain in long),
            at_most(sizes.BACKLOG_PEAK_MIB),
        ),
    ]


def drain_in(bench: Workbench, agent: Agent, count: int) -> Drain:
    """
    Drop `count` files before the start of `agent` and let it work them off.

    Raises:
        BenchError: if it does not exit well or not every file is filed as processed.
    """
    write_intents(agent.handoff, count)
    # Else the write-back of the input would fall on the agent.
    os.sync()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with agent.running(once=True):
        agent.wait_exit(START_TIMEOUT + count / SLOWEST_FILES_PER_SECOND)
        ended_ns = rows.now_ns()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = rows.outcomes(agent.state)
    if found != {"processed": count} or agent.filed_count() != count:
        raise agent.error(f"{count} files dropped, {agent.filed_count()} in processed, rows: {found}")
    first_ns = rows.first_claim_us(agent.state) * 1000
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Drain(
        files_per_second=count / (agent.last_filed_ns() - first_ns) * 1e9,
        exit_files_per_second=count / (ended_ns - first_ns) * 1e9,
        cpu_ms_per_file=cpu / count * 1000,
        peak_rss_mib=agent.peak_rss_bytes / 2**20,
    )


def _drain(bench: Workbench, root: Path, processor: Mapping[str, object], count: int) -> Drain:
    drain = drain_in(bench, Agent(bench.fresh(root, "agent"), processor), count)
    bench.say(f"agent, {count:,} files on {bench.roots[root]}: {drain.files_per_second:,.0f} files/s")
    return drain


def _beside_limit(
    bench: Workbench, case: str, processor: Mapping[str, object], *, spawning: bool, ratio: float
) -> list[Measure]:
    count = bench.sizes.throughput_files
    limits: dict[Path, list[float]] = defaultdict(list)
    drains: dict[Path, list[Drain]] = defaultdict(list)
    for _ in range(bench.sizes.repeats):
        for root, label in bench.roots.items():
            limits[root].append(run_limit(bench, root, count, spawning=spawning))
            bench.say(f"limit, {count:,} files on {label}: {limits[root][-1]:,.0f} files/s")
            drains[root].append(_drain(bench, root, processor, count))
    measures = []
    for root, label in bench.roots.items():
        # The target is about a disk; memory is shown beside it, to tell the file system's share.
        target = at_least(ratio) if root == bench.disk else None
        measures += _compare(case, label, limits[root], drains[root], target)
    return measures


def _compare(
    case: str, where: str, limits: list[float], drains: list[Drain], target: Target | None
) -> list[Measure]:
    ratios = tuple(drain.files_per_second / limit for drain, limit in zip(drains, limits, strict=True))
    exits = tuple(drain.exit_files_per_second for drain in drains)
    return [
        Measure(case, f"limit in C, {where}", "files/s", tuple(limits)),
        Measure(case, f"agent, {where}", "files/s", tuple(drain.files_per_second for drain in drains)),
        Measure(case, f"agent ÷ limit, {where}", "", ratios, target),
        Measure(case, f"agent until its exit, {where}", "files/s", exits),
        Measure(case, f"CPU per file, {where}", "ms", tuple(drain.cpu_ms_per_file for drain in drains)),
    ]
