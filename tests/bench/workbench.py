"""
Where the bench works: fresh directories on disk and in memory, compiled C programs, input files.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.measure import BenchError
from bench.sizes import Sizes

SOURCES = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Programs:
    """
    The compiled C programs.
    """

    limit: Path  #: does the agent's file operations without an agent
    noop: Path  #: does nothing
    stamp: Path  #: writes down when it was started


class Workbench:
    """
    Everything that a case needs; one per run.

    Nothing is deleted before `close`: on ext4 creating files is several times dearer for minutes after
    thousands were deleted, which would fall on whatever is measured next.

    Args:
        disk: directory to work in, on the file system that the targets are about.
        memory: directory on a file system in memory, measured beside it; None to leave it out.
        full: use `sizes.full_history_rows`.
        say: shows one line of progress.
    """

    def __init__(
        self, *, disk: Path, memory: Path | None, sizes: Sizes, full: bool, say: Callable[[str], None]
    ) -> None:
        self.sizes = sizes
        self.history_rows = sizes.full_history_rows if full else sizes.history_rows
        self.say = say
        self._numbers = itertools.count(1)
        name = f"conductor-loop-bench-{os.getpid()}"
        self.disk = disk / name
        self.memory = memory / name if memory else None
        for root in self.roots:
            root.mkdir(parents=True)
        self.programs = Programs(*(self._compile(program) for program in ("limit", "noop", "stamp")))

    @property
    def roots(self) -> dict[Path, str]:
        """
        The directories to measure in, with their names in the report.
        """
        roots = {self.disk: "disk"}
        if self.memory:
            roots[self.memory] = "memory"
        return roots

    def fresh(self, root: Path, label: str) -> Path:
        """
        Return a new directory below `root` that nothing has touched before.
        """
        directory = root / f"{next(self._numbers):03d}-{label}"
        directory.mkdir()
        return directory

    def close(self) -> None:
        """
        Delete everything, in one go.
        """
        for root in self.roots:
            shutil.rmtree(root, ignore_errors=True)
        # What is on disk is forgotten sooner; see inodes.py.
        os.sync()

    def _compile(self, program: str) -> Path:
        source, binary = SOURCES / f"{program}.c", self.disk / program
        # Static programs start without the dynamic loader, but not every distribution ships a static libc.
        errors = _gcc(source, binary, "-static") and _gcc(source, binary)
        if errors:
            raise BenchError(f"gcc cannot compile {source}:\n{errors}")
        return binary


def write_intents(directory: Path, count: int, *, first: int = 0) -> list[str]:
    """
    Make `count` small valid intents, each different, and return their names in the order of making.
    """
    names = []
    for number in range(first, first + count):
        name = f"intent-{number:06d}.json"
        body = {"intent_type": "scaling", "target": f"app-{number:06d}", "namespace": "bench", "replicas": 3}
        (directory / name).write_text(json.dumps(body), encoding="ascii")
        names.append(name)
    return names


def run_limit(bench: Workbench, root: Path, count: int, *, spawning: bool) -> float:
    """
    Return how many files a second the C program files away.
    """
    directory = bench.fresh(root, "limit")
    handoff = directory / "handoff"
    handoff.mkdir()
    write_intents(handoff, count)
    os.sync()
    command = [bench.programs.limit, directory, *([bench.programs.noop] if spawning else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"the limit program failed: {done.stderr.strip()}")
    files, seconds = done.stdout.split()
    if int(files) != count:
        raise BenchError(f"the limit program filed {files} of {count} files")
    return count / float(seconds)


def _gcc(source: Path, binary: Path, *flags: str) -> str:
    """
    Compile one program; return the compiler's errors, empty if there are none.
    """
    command = ["gcc", "-O2", "-Wall", *flags, "-o", os.fspath(binary), os.fspath(source)]
    try:
        compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise BenchError("gcc is not installed; the bench needs it for its C programs") from None
    return compiled.stderr if compiled.returncode else ""
