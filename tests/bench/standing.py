"""
What the agent costs while it stands there: idle, scraped, and starting, with a short and a long history.
"""

from __future__ import annotations

import http.client
import statistics
import time

from bench import rows, sizes
from bench.agent import Agent
from bench.measure import BenchError, Measure, at_most
from bench.throughput import PYTHON
from bench.workbench import Workbench

SETTLING_SECONDS = 5.0  #: after "ready", before idleness is measured


def idle(bench: Workbench) -> list[Measure]:
    """
    Measure memory and CPU of an agent that has nothing to do.
    """
    memory, cpu = zip(*(_idle_once(bench) for _ in range(bench.sizes.idle_repeats)), strict=True)
    what = f"over {bench.sizes.idle_seconds:g} s"
    return [
        Measure("idle", f"RSS {what}", "MiB", memory, at_most(sizes.IDLE_MIB)),
        Measure("idle", f"CPU {what}", "% of a core", cpu, at_most(sizes.IDLE_CPU_PERCENT)),
    ]


def metrics(bench: Workbench) -> list[Measure]:
    """
    Measure a scrape with an empty history and with a long one.
    """
    short, long = Agent(bench.fresh(bench.disk, "metrics"), PYTHON), _with_history(bench)
    timings: dict[Agent, list[float]] = {short: [], long: []}
    for _ in range(bench.sizes.repeats):
        for agent, medians in timings.items():
            with agent.running():
                agent.wait_ready()
                medians.append(_scrape_ms(agent, bench.sizes.scrapes))
                agent.stop()
    bench.say(f"scrape: {timings[short][-1]:.2f} ms, with a long history {timings[long][-1]:.2f} ms")
    target = at_most(sizes.SCRAPE_MS)
    return [
        Measure("metrics", "scrape, empty history", "ms", tuple(timings[short]), target),
        Measure("metrics", f"scrape, {bench.history_rows:,} files", "ms", tuple(timings[long]), target),
    ]


def start(bench: Workbench) -> list[Measure]:
    """
    Measure the time from starting the process to its being ready.
    """
    short, long = Agent(bench.fresh(bench.disk, "start"), PYTHON), _with_history(bench)
    timings: dict[Agent, list[float]] = {short: [], long: []}
    for _ in range(bench.sizes.repeats):
        for agent, seconds in timings.items():
            seconds.append(_start_seconds(agent))
    bench.say(f"start: {timings[short][-1]:.2f} s, with a long history {timings[long][-1]:.2f} s")
    target = at_most(sizes.START_SECONDS)
    return [
        Measure("start", "start → ready, no history", "s", tuple(timings[short]), target),
        Measure("start", f"start → ready, {bench.history_rows:,} files", "s", tuple(timings[long]), target),
    ]


def _idle_once(bench: Workbench) -> tuple[float, float]:
    agent = Agent(bench.fresh(bench.disk, "idle"), PYTHON)
    with agent.running():
        agent.wait_ready()
        time.sleep(SETTLING_SECONDS)
        cpu, begin = agent.cpu_seconds(), time.monotonic()
        time.sleep(bench.sizes.idle_seconds)
        share = (agent.cpu_seconds() - cpu) / (time.monotonic() - begin) * 100
        memory = agent.rss_bytes() / 2**20
        agent.stop()
    bench.say(f"idle: {memory:.0f} MiB, {share:.2f} % of a core")
    return memory, share


def _with_history(bench: Workbench) -> Agent:
    """
    Return an agent, not running, that has `bench.history_rows` files behind it.
    """
    agent = Agent(bench.fresh(bench.disk, "history"), PYTHON)
    # The agent itself makes its database, so that the bench knows no schema.
    _start_seconds(agent)
    bench.say(f"filling a history with {bench.history_rows:,} files")
    rows.fill(agent.state, bench.history_rows)
    return agent


def _start_seconds(agent: Agent) -> float:
    begin = time.monotonic()
    with agent.running():
        agent.wait_ready()
        seconds = time.monotonic() - begin
        agent.stop()
    return seconds


def _scrape_ms(agent: Agent, count: int) -> float:
    """
    Return the median of `count` scrapes over one connection, as Prometheus does it.
    """
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=10)
    timings = []
    for _ in range(count):
        begin = time.perf_counter()
        connection.request("GET", "/metrics/prometheus")
        answer = connection.getresponse()
        body = answer.read()
        timings.append((time.perf_counter() - begin) * 1000)
        if answer.status != http.HTTPStatus.OK or b"conductor_loop_files_processed_total" not in body:
            raise BenchError(f"metrics: status {answer.status}, {len(body)} bytes, not the metrics")
    connection.close()
    return statistics.median(timings)
