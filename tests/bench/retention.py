"""
What the deletion of old files costs those that come in: an agent that deletes beside one that has nothing to delete.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench import rows, sizes
from bench.agent import Agent
from bench.measure import BenchError, Measure, at_least, at_most
from bench.throughput import PYTHON, SLOWEST_FILES_PER_SECOND, START_TIMEOUT
from bench.workbench import Workbench, write_intents

YOUNG, OLD = "30d", "1d"  #: ages; the files of the history are up to 20 days old


@dataclass(slots=True)
class Side:
    """
    One of the two agents, with what was measured of it.
    """

    agent: Agent
    dropped: int = 0
    rates: list[float] = field(default_factory=list)  #: files a second
    costs: list[float] = field(default_factory=list)  #: of CPU, in ms a file


def retention(bench: Workbench) -> list[Measure]:
    """
    Measure files a second with and without deletion, again and again in turn; both agents have the same old files.
    """
    plain, deleting = (_with_old_files(bench, keep) for keep in (YOUNG, OLD))
    before = plain.agent.filed_count()
    with plain.agent.running(), deleting.agent.running():
        for side in (plain, deleting):
            side.agent.wait_ready()
        begin = time.monotonic()
        # The dearer creation of files after deletions on ext4 without a journal comes into full swing.
        time.sleep(bench.sizes.retention_lead_seconds)
        _take_turns(bench, plain, deleting)
        seconds = time.monotonic() - begin
        memory = deleting.agent.rss_bytes() / plain.agent.rss_bytes()
        for side in (plain, deleting):
            side.agent.stop()
    deleted = before + deleting.dropped - deleting.agent.filed_count()
    if not deleted or plain.agent.filed_count() != before + plain.dropped:
        raise BenchError(
            f"retention: {deleted} files deleted, {plain.agent.filed_count()} where none should be"
        )
    ratios = tuple(slow / fast for slow, fast in zip(deleting.rates, plain.rates, strict=True))
    costs = tuple(dear / cheap for dear, cheap in zip(deleting.costs, plain.costs, strict=True))
    return [
        Measure("retention", "nothing to delete", "files/s", tuple(plain.rates)),
        Measure("retention", "while deleting", "files/s", tuple(deleting.rates)),
        Measure("retention", "while deleting ÷ nothing to", "", ratios, at_least(sizes.RETENTION_RATIO)),
        Measure("retention", "CPU per file, deleting ÷ nothing to", "", costs),
        Measure("retention", "processed files deleted", "files/s", (deleted / seconds,)),
        Measure("retention", "RSS, deleting ÷ nothing to", "", (memory,), at_most(sizes.RETENTION_RSS_RATIO)),
    ]


def _with_old_files(bench: Workbench, keep: str) -> Side:
    """
    Return an agent, not running, with `retention_files` processed files behind it.
    """
    files = {"keep_processed": keep, "keep_status": keep}
    agent = Agent(bench.fresh(bench.disk, "retention"), PYTHON, files=files)
    with agent.running():  # the agent itself makes its database, so that the bench knows no schema
        agent.wait_ready()
        agent.stop()
    count = bench.sizes.retention_files
    bench.say(f"filing {count:,} old files, kept for {keep}")
    rows.fill(agent.state, count)
    with rows.filed(agent.state) as files_of:
        for number, name in enumerate(files_of.names, start=1):
            (agent.processed / name).write_bytes(b"{}")
            files_of.is_at(number, (agent.processed / name).stat())
            status = {"id": f"{files_of.store_id}-{number}"}
            (agent.status / f"{name}.status").write_text(json.dumps(status), encoding="ascii")
    os.sync()
    return Side(agent)


def _take_turns(bench: Workbench, plain: Side, deleting: Side) -> None:
    for turn in range(bench.sizes.retention_repeats):
        # Who is measured second has the warmer machine.
        for side in (plain, deleting) if turn % 2 else (deleting, plain):
            other = deleting if side is plain else plain
            with _held(other.agent):
                _measure(bench, side)
        bench.say(
            f"while deleting {deleting.rates[-1]:,.0f}, nothing to delete {plain.rates[-1]:,.0f} files/s"
        )


@contextlib.contextmanager
def _held(agent: Agent) -> Iterator[None]:
    """
    Keep an agent from doing anything, so that the other one has the machine.
    """
    os.kill(agent.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(agent.pid, signal.SIGCONT)


def _measure(bench: Workbench, side: Side) -> None:
    """
    Drop files at once and note how many a second were filed, from the first claim to the last end.
    """
    count = bench.sizes.retention_drops
    stock = bench.fresh(bench.disk, "stock")
    names = write_intents(stock, count, first=side.dropped)
    os.sync()
    last, cpu = rows.last_number(side.agent.state), side.agent.cpu_seconds()
    for name in names:
        os.rename(stock / name, side.agent.handoff / name)
    side.dropped += count
    timeout = START_TIMEOUT + count / SLOWEST_FILES_PER_SECOND
    # A look at the rows takes a moment of the machine that the agents share, so there are few.
    side.agent.wait_until(
        lambda: rows.ended_after(side.agent.state, last)[0] == count, "all is filed", timeout, 0.5
    )
    _, begin_us, end_us = rows.ended_after(side.agent.state, last)
    side.rates.append(count / (end_us - begin_us) * 1e6)
    side.costs.append((side.agent.cpu_seconds() - cpu) / count * 1000)
