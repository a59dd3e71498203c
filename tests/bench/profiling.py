"""
Where the time of the python case goes: a sampling profile as text, to explain a number that was missed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.agent import AGENT, Agent
from bench.throughput import PYTHON, drain_in
from bench.workbench import Workbench

SAMPLES_PER_SECOND = 250
LINES = 20
PACKAGE = "conductor_loop/"
IMPORTING = "<frozen importlib"  #: starting is measured elsewhere
SAMPLED_PROGRAM = Path(__file__).with_name("sampled.py")
#: Innermost functions of a thread that has nothing to do.
WAITING = frozenset(
    {"wait", "get", "poll", "select", "accept", "join", "read_events", "_wait_for_tstate_lock"}
)


def profile(bench: Workbench, target: Path) -> None:
    """
    Run the python case under a profile and write where time goes to `target`.
    """
    spy = _install_py_spy(bench.fresh(bench.disk, "py-spy"))
    if spy:
        record = [spy, "record", "--format=raw", f"--rate={SAMPLES_PER_SECOND}", "--threads"]
        # Who holds the interpreter explains throughput; who runs at all shows system calls, too.
        parts = [
            *_profiled(
                bench, "holding the interpreter (py-spy)", [*record, "--gil", "--output"], ["--", *AGENT]
            ),
            *_profiled(
                bench, "running, or waiting outside Python (py-spy)", [*record, "--output"], ["--", *AGENT]
            ),
        ]
    else:
        program = [sys.executable, os.fspath(SAMPLED_PROGRAM)]
        parts = _profiled(
            bench, "running, or waiting outside Python (sampler inside the process)", program, []
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(parts) + "\n", encoding="utf-8")
    bench.say(f"profile written to {target}")


def summary(stacks: Sequence[str]) -> list[str]:
    """
    Return where time goes by thread, by innermost function and by our own functions with what they call.

    Args:
        stacks: lines of "thread;frame;frame count", a frame being "function (file:line)", outermost first.
    """
    threads, innermost, inclusive = Counter[str](), Counter[str](), Counter[str]()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        functions = [frame.rpartition(":")[0] + ")" for frame in frames if ":" in frame]
        if not functions or IMPORTING in stack or _innermost_name(functions) in WAITING:
            continue
        threads[thread.rpartition(": ")[2].strip('"')] += int(count)
        innermost[functions[-1]] += int(count)
        for function in set(functions):
            if PACKAGE in function:
                inclusive[function] += int(count)
    total = sum(threads.values())
    return [
        f"{total} samples",
        *_ranking("by thread", threads, total),
        *_ranking("by innermost function", innermost, total),
        *_ranking("by our function, with what it calls", inclusive, total),
    ]


def _innermost_name(functions: list[str]) -> str:
    return functions[-1].partition(" ")[0].rpartition(".")[2]


def _ranking(title: str, counts: Counter[str], total: int) -> list[str]:
    lines = [f"{count / total:6.1%}  {name}" for name, count in counts.most_common(LINES)]
    return ["", f"-- {title}", *lines]


def _profiled(bench: Workbench, title: str, before: list[str], after: list[str]) -> list[str]:
    """
    Drain one directory with the agent started as `before`, the file for the stacks, `after`.
    """
    directory = bench.fresh(bench.disk, "profile")
    stacks = directory / "stacks.txt"
    agent = Agent(directory, PYTHON, program=[*before, os.fspath(stacks), *after])
    drain = drain_in(bench, agent, bench.sizes.throughput_files)
    lines = summary(stacks.read_text(encoding="utf-8").splitlines())
    return [f"== {title}: {drain.files_per_second:,.0f} files/s under the profile", *lines, ""]


def _install_py_spy(directory: Path) -> str | None:
    """
    Return the path of py-spy in an environment of its own, None where it cannot be installed or may not look.
    """
    venv.create(directory, with_pip=True)
    python, spy = (os.fspath(directory / "bin" / name) for name in ("python", "py-spy"))
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "py-spy"]
    if subprocess.run(install, capture_output=True, check=False).returncode != 0:
        return None
    # A system may forbid one process to look into another.
    record = [spy, "record", "--duration=1", "--format=raw", "--output", os.fspath(directory / "trial")]
    trial = [*record, "--", python, "-c", "import time; time.sleep(0.5)"]
    return spy if subprocess.run(trial, capture_output=True, check=False).returncode == 0 else None
