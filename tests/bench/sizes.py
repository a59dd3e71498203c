"""
How much of everything is measured, and the numbers to reach.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """
    The default is what the targets are stated for; it takes about a quarter of an hour on two cores.
    """

    repeats: int = 3
    throughput_files: int = 10_000
    latency_seconds: float = 20.0
    latency_files_per_second: int = 50
    overflow_files: int = 20_000  #: more than the kernel's inotify queue holds (16,384)
    overflow_busy_threads: int = 4
    backlog_files: int = 100_000
    backlog_base_files: int = 1_000
    backlog_repeats: int = 2  #: each takes most of a minute
    backlog_base_repeats: int = 5  #: a second each, and noisier
    idle_seconds: float = 60.0
    idle_repeats: int = 1
    scrapes: int = 300
    history_rows: int = 1_000_000
    full_history_rows: int = 10_000_000  #: with --full
    retention_files: int = 50_000  #: old ones
    retention_lead_seconds: float = (
        60.0  #: as long as ext4 without a journal does not use a deleted inode again
    )
    retention_drops: int = 3_000
    retention_repeats: int = 20  #: pairs, for each is short
    cli_repeats: int = 40


DEFAULT = Sizes()
QUICK = Sizes(
    repeats=1,
    throughput_files=2_000,
    latency_seconds=5.0,
    backlog_files=10_000,
    backlog_repeats=1,
    backlog_base_repeats=1,
    idle_seconds=10.0,
    scrapes=50,
    history_rows=100_000,
    full_history_rows=1_000_000,
    retention_files=2_000,
    retention_lead_seconds=2.0,
    retention_drops=2_000,
    retention_repeats=2,
    cli_repeats=5,
)

COMMAND_RATIO = 0.5  #: of the limit
PYTHON_RATIO = 0.33  #: of the limit that starts no process
LATENCY_P50_MS = 6.0
LATENCY_P99_MS = 50.0
BACKLOG_COST_RATIO = 1.3
BACKLOG_PEAK_MIB = 150.0
IDLE_MIB = 80.0
IDLE_CPU_PERCENT = 0.5  #: of one core
SCRAPE_MS = 3.0
START_SECONDS = 2.0
RETENTION_RATIO = 0.95  #: of the files a second without deletion
RETENTION_RSS_RATIO = 1.05
CLI_RATIO = 1.6  #: of an interpreter that imports click
