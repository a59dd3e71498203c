"""
The bench's command line.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import (
    commands,
    inodes,
    latency,
    machine,
    overflow,
    profiling,
    report,
    retention,
    standing,
    throughput,
)
from bench.measure import BenchError, Measure, number_text
from bench.sizes import DEFAULT, QUICK
from bench.workbench import Workbench
from conductor_loop import __version__

CHECKOUT = Path(__file__).resolve().parents[2]
MEMORY = Path("/dev/shm")
MEMORY_BYTES_PER_FILE = 5 * 4096  #: input, status file, and their share of the database and directories

Case = Callable[[Workbench], list[Measure]]
CASES: dict[str, Case] = {
    "command": throughput.command,
    "python": throughput.python,
    "latency": latency.latency,
    "overflow": overflow.overflow,
    "backlog": throughput.backlog,
    "idle": standing.idle,
    "metrics": standing.metrics,
    "start": standing.start,
    "retention": retention.retention,
    "cli": commands.cli,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the chosen cases and write the report.

    Returns:
        0, or 1 if a case could not be measured; a missed target is a result and no failure.
    """
    options = _parse(arguments)
    # A run that is ended from outside cleans up like one that is interrupted at the terminal.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        bench = _open_bench(options)
        try:
            return _profile(bench) if options.profile else _measure(bench, options)
        finally:
            say("cleaning up")
            bench.close()
            inodes.mark_deletion(options.dir)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


def say(line: str) -> None:
    """
    Show one line of progress with the time.
    """
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the agent and write docs/benchmarks.md.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"only these of: {', '.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, one repeat: does it work at all?")
    parser.add_argument("--full", action="store_true", help="ten times the rows for metrics and start")
    parser.add_argument("--profile", action="store_true", help="say where the time of the python case goes")
    parser.add_argument(
        "--dir", type=Path, default=CHECKOUT / "build" / "bench", help="where to work on disk"
    )
    parser.add_argument("--out", type=Path, help="where to write the report (default: docs for a whole run)")
    options = parser.parse_args(arguments)
    unknown = [case for case in options.cases if case not in CASES]
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}; there are: {', '.join(CASES)}")
    whole = not (options.cases or options.quick)
    # The page in docs is always one whole run, never a patchwork.
    options.out = options.out or (CHECKOUT / "docs" if whole else options.dir)
    options.cases = options.cases or list(CASES)
    return options


def _open_bench(options: argparse.Namespace) -> Workbench:
    sizes = QUICK if options.quick else DEFAULT
    # Limit and agent, for the command and the python case, each time in new directories.
    wanted = 4 * sizes.repeats * sizes.throughput_files * MEMORY_BYTES_PER_FILE
    memory = MEMORY if machine.free_bytes(MEMORY) > wanted else None
    if not memory:
        say(f"{MEMORY} has no {wanted / 2**20:,.0f} MiB to spare: disk only")
    return Workbench(disk=options.dir, memory=memory, sizes=sizes, full=options.full, say=say)


def _measure(bench: Workbench, options: argparse.Namespace) -> int:
    if not options.quick:
        inodes.wait_until_forgotten(bench, options.dir)
    begin = time.monotonic()
    date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    description = machine.describe(bench.disk, bench.memory)
    company = machine.Company()
    measures, problems = _run_cases(bench, options.cases)
    description["used by others"] = f"{company.percent():.0f} % of all cores' time, kernel threads included"
    run = report.Run(
        date=date,
        version=__version__,
        quick=options.quick,
        seconds=time.monotonic() - begin,
        machine=description,
        measures=measures,
        problems=problems,
    )
    page = report.write(run, options.out)
    for measure in measures:
        _show(measure)
    say(f"written to {page}")
    return 1 if problems else 0


def _run_cases(bench: Workbench, cases: Sequence[str]) -> tuple[list[Measure], dict[str, str]]:
    measures: list[Measure] = []
    problems = {}
    for case in cases:
        say(f"case {case}")
        try:
            measures += CASES[case](bench)
        except BenchError as error:
            problems[case] = str(error)
            say(f"NOT MEASURED: {error}")
    return measures, problems


def _show(measure: Measure) -> None:
    target = f"{measure.target}" if measure.target else ""
    value = f"{number_text(measure.median)} {measure.unit}"
    print(f"{measure.case:9} {measure.what:45} {target:>8} {value:>18}  {report.verdict(measure)}")


def _profile(bench: Workbench) -> int:
    profiling.profile(bench, CHECKOUT / "build" / "bench" / "profile.txt")
    return 0
