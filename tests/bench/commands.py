"""
How long the command line takes to say something: beside an interpreter that only imports click.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import sizes
from bench.measure import BenchError, Measure, at_most
from bench.workbench import Workbench

Command = Sequence[str | Path]

PROGRAM = Path(sys.executable).with_name("conductor-loop")  # as it is installed beside the interpreter
CLICK: Command = (sys.executable, "-c", "import click")


def _completing(*words: str) -> dict[str, str]:
    """
    Return the variables by which bash asks for the completion of the last word.
    """
    return {
        "_CONDUCTOR_LOOP_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["conductor-loop", *words]),
        "COMP_CWORD": str(len(words)),
    }


#: what is measured -> arguments, environment, and what must be in the answer
SPOKEN: dict[str, tuple[Sequence[str], Mapping[str, str], bytes]] = {
    "--help": (("--help",), {}, b"Usage"),
    "--version": (("--version",), {}, b"conductor-loop"),
    "files retry --help": (("files", "retry", "--help"), {}, b"Usage"),
    "completion": ((), _completing("st"), b"status"),
    "completion of options": ((), _completing("files", "retry", "--k"), b"--kind"),
}


def cli(bench: Workbench) -> list[Measure]:
    """
    Measure help, version and completion, each time beside the import of click.
    """
    if not PROGRAM.exists():
        raise BenchError(f"{PROGRAM} is not there; install the checkout into this environment")
    measures = []
    for what, (arguments, variables, expected) in SPOKEN.items():
        timings = [
            (_seconds(CLICK, {}, b""), _seconds((PROGRAM, *arguments), variables, expected))
            for _ in range(bench.sizes.cli_repeats)
        ]
        click = statistics.median(plain for plain, _ in timings)
        bench.say(f"{what}: {statistics.median(took for _, took in timings) * 1000:.0f} ms")
        milliseconds = tuple(took * 1000 for _, took in timings)
        # Against the median: single short processes scatter, and a ratio of two of them scatters twice.
        ratios = tuple(took / click for _, took in timings)
        measures += [
            Measure("cli", f"conductor-loop {what}", "ms", milliseconds),
            Measure("cli", f"conductor-loop {what} ÷ import click", "", ratios, at_most(sizes.CLI_RATIO)),
        ]
    return measures


def _seconds(command: Command, variables: Mapping[str, str], expected: bytes) -> float:
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, **variables})
    seconds = time.perf_counter() - begin
    if done.returncode or expected not in done.stdout:
        raise BenchError(f"{command}: exit code {done.returncode}, {done.stdout[:200]!r}")
    return seconds
