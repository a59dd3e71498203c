"""
The report: `benchmarks.md` for people, `benchmarks.json` with every single value beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Measure, number_text

NOTES = "## Notes"
EMPTY_NOTES = "\nNothing to explain yet.\n"
HEAD = """\
# Benchmarks

Written by `make bench`; everything above *Notes* is overwritten by the next run, the notes are kept.

The agent runs as a real process with its defaults: durable history, status files, metrics, validation.
*Limit* is a C program that does the same file operations for each file and nothing else: claim rename, read,
spawn and reap a command that does nothing (four in flight; not for the python processor), status file written
and renamed, filing rename; no database, no validation, nothing durable. A ratio compares two runs that
followed each other. Every run has fresh directories, and nothing is deleted before all is measured: on ext4
without a journal creating files is up to 25 times dearer for minutes after deleting thousands. Nothing else
should delete many files on this file system meanwhile.

*Agent* is timed from the first claim (by its history) to the last filing rename (by the file's ctime); *agent
until its exit* to the end of the process, with the last write to the history. *CPU per file* is that of the
agent and its commands, start and stop included.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """
    One run of the bench.
    """

    date: str  #: RFC 3339, UTC
    version: str  #: of the agent
    quick: bool
    seconds: float
    machine: Mapping[str, str]
    measures: Sequence[Measure]
    problems: Mapping[str, str]  #: case -> why it could not be measured


def write(run: Run, directory: Path) -> Path:
    """
    Write both files into `directory`; return the path of the one for people.
    """
    directory.mkdir(parents=True, exist_ok=True)
    page = directory / "benchmarks.md"
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    page.write_text(markdown(run, notes_of(before)), encoding="utf-8")
    (directory / "benchmarks.json").write_text(to_json(run), encoding="utf-8")
    return page


def markdown(run: Run, notes: str) -> str:
    """
    Return the page.

    Args:
        notes: what people wrote below the heading of the notes.
    """
    quick = ["**A quick run: smaller sizes, one repeat; no proof of anything.**", ""] if run.quick else []
    kind = f"conductor-loop {run.version}, {run.date}, {run.seconds / 60:.1f} minutes."
    lines = [HEAD, *quick, kind, "", *_machine_lines(run.machine), "", *_table(run.measures)]
    if run.problems:
        lines += ["", "## Not measured", "", *_problem_lines(run.problems)]
    return "\n".join([*lines, "", NOTES]) + notes


def notes_of(page: str) -> str:
    """
    Return what stands below the heading of the notes in an earlier page.
    """
    _, found, notes = page.partition(f"\n{NOTES}")
    return notes if found else EMPTY_NOTES


def to_json(run: Run) -> str:
    """
    Return the run with every value of every repeat.
    """
    data = {
        "version": 1,
        "agent_version": run.version,
        "date": run.date,
        "quick": run.quick,
        "seconds": round(run.seconds, 1),
        "machine": dict(run.machine),
        "measures": [_measure_data(measure) for measure in run.measures],
        "problems": dict(run.problems),
    }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def verdict(measure: Measure) -> str:
    """
    Return `met`, `missed`, or nothing for a number without a target.
    """
    return {True: "met", False: "missed", None: ""}[measure.met]


def _machine_lines(machine: Mapping[str, str]) -> list[str]:
    return ["| machine | |", "|---|---|", *(f"| {name} | {value} |" for name, value in machine.items())]


def _table(measures: Sequence[Measure]) -> list[str]:
    return [
        "| case | what | target | median | range | repeats | verdict |",
        "|---|---|---|---|---|---|---|",
        *(_row(measure) for measure in measures),
    ]


def _row(measure: Measure) -> str:
    low, high = number_text(min(measure.values)), number_text(max(measure.values))
    unit = f" {measure.unit}" if measure.unit else ""
    result = verdict(measure)
    cells = (
        measure.case,
        measure.what,
        f"{measure.target}{unit}" if measure.target else "",
        f"{number_text(measure.median)}{unit}",
        low if low == high else f"{low} – {high}",  # noqa: RUF001 - a range takes an en dash
        str(len(measure.values)),
        f"**{result}**" if result == "missed" else result,
    )
    return f"| {' | '.join(cells)} |"


def _problem_lines(problems: Mapping[str, str]) -> list[str]:
    lines = []
    for case, problem in problems.items():
        lines += [f"{case}:", "", *(f"    {line}" for line in problem.splitlines()), ""]
    return lines[:-1]


def _measure_data(measure: Measure) -> dict[str, object]:
    target = measure.target
    return {
        "case": measure.case,
        "what": measure.what,
        "unit": measure.unit,
        "values": list(measure.values),
        "median": measure.median,
        "target": target
        and {"bound": target.bound, "at_least": target.at_least, "judged": target.judged.value},
        "met": measure.met,
    }
