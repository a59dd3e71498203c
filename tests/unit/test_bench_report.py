"""
The bench's own arithmetic, report and helpers: a wrong bench is worse than none.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from bench import inodes, latency, machine, profiling, report, rows, sizes
from bench.measure import BenchError, Judged, Measure, at_least, at_most, number_text, percentile
from bench.workbench import Workbench, run_limit
from conductor_loop.store import tables
from surroundings import missing

RATIO = Measure("command", "agent ÷ limit, disk", "", (0.61, 0.55, 0.72), at_least(0.5))
MISSED = Measure("idle", "RSS", "MiB", (96.0,), at_most(80))
PLAIN = Measure("command", "limit in C, disk", "files/s", (2204.2, 2075.6, 2314.9))


def a_run(*measures: Measure, quick: bool = False, problems: dict[str, str] | None = None) -> report.Run:
    return report.Run(
        date="2026-11-23T18:00:00Z",
        version="0.1.0",
        quick=quick,
        seconds=600,
        machine={"kernel": "Linux 6.1"},
        measures=measures,
        problems=problems or {},
    )


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    if not shutil.which("gcc"):
        missing("gcc is not installed")
    return Workbench(disk=tmp_path, memory=None, sizes=sizes.QUICK, full=False, say=lambda line: None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10_243.7, "10,244"),
        (100, "100"),
        (99.96, "100"),
        (23.14, "23.1"),
        (2.005, "2"),
        (0.333, "0.333"),
        (0.00421, "0.00421"),
        (0, "0"),
        (-1.5, "-1.5"),
        (20_000, "20,000"),
    ],
)
def test_numbers_are_shown_to_three_digits(value: float, text: str) -> None:
    """
    A reader sees what the repeats support, not more.
    """
    assert number_text(value) == text


def test_percentiles_are_by_nearest_rank() -> None:
    """
    A percentile is one of the values measured.
    """
    values = range(1, 101)

    assert [percentile(values, percent) for percent in (0, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([7.0], 99) == 7.0


def test_percentile_of_nothing_is_an_error() -> None:
    """
    Nothing measured is never shown as a number.
    """
    with pytest.raises(BenchError, match="no values"):
        percentile([], 50)


@pytest.mark.parametrize("values", [(), (float("nan"),), (1.0, float("inf"))])
def test_measure_refuses_what_was_not_measured(values: tuple[float, ...]) -> None:
    """
    Empty and non-finite values are errors.
    """
    with pytest.raises(BenchError, match="nothing measured"):
        Measure("idle", "RSS", "MiB", values)


def test_median_is_held_against_the_target() -> None:
    """
    One bad repeat of three does not make a target missed, nor one good repeat met.
    """
    assert at_least(0.5).met_by((0.4, 0.6, 0.5)) is True
    assert at_least(0.5).met_by((0.4, 0.6, 0.49)) is False
    assert at_most(6).met_by((5, 6, 90)) is True
    assert at_most(6).met_by((5, 6.1, 7)) is False


def test_worst_repeat_is_held_against_a_strict_target() -> None:
    """
    A lost file in one repeat is a missed target.
    """
    target = at_least(20_000, Judged.WORST)

    assert target.met_by((20_000, 20_000)) is True
    assert target.met_by((20_000, 20_000, 19_999)) is False


def test_page_shows_target_median_range_and_verdict() -> None:
    """
    The table has everything a reader needs to doubt a number.
    """
    page = report.markdown(a_run(RATIO, MISSED, PLAIN), "\n")

    assert "| command | agent ÷ limit, disk | ≥ 0.5 | 0.61 | 0.55 – 0.72 | 3 | met |" in page  # noqa: RUF001
    assert "| idle | RSS | ≤ 80 MiB | 96 MiB | 96 | 1 | **missed** |" in page
    assert "| command | limit in C, disk |  | 2,204 files/s | 2,076 – 2,315 | 3 |  |" in page  # noqa: RUF001
    assert "| kernel | Linux 6.1 |" in page


def test_quick_run_says_that_it_proves_nothing() -> None:
    """
    Nobody takes a quick run for the real one.
    """
    assert "quick run" in report.markdown(a_run(RATIO, quick=True), "")
    assert "quick run" not in report.markdown(a_run(RATIO), "")


def test_case_that_failed_is_in_the_page() -> None:
    """
    A missing number has its reason in its place.
    """
    page = report.markdown(a_run(RATIO, problems={"start": "waited in vain\nthe log"}), "\nmine\n")

    assert "## Not measured\n\nstart:\n\n    waited in vain\n    the log\n\n## Notes\nmine\n" in page


def test_notes_survive_the_next_run(tmp_path: Path) -> None:
    """
    What people wrote below the heading stays, however often the bench runs.
    """
    page = report.write(a_run(RATIO), tmp_path)
    page.write_text(
        page.read_text(encoding="utf-8") + "\nThe idle target is missed because.\n", encoding="utf-8"
    )
    report.write(a_run(MISSED), tmp_path)
    text = report.write(a_run(MISSED), tmp_path).read_text(encoding="utf-8")

    assert text.count("The idle target is missed because.") == 1
    assert text.count(report.NOTES) == 1
    assert "agent ÷ limit" not in text


def test_json_holds_every_repeat(tmp_path: Path) -> None:
    """
    Programs get the raw values, in the order of measuring.
    """
    report.write(a_run(RATIO, PLAIN), tmp_path)
    data = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))

    assert data["version"] == 1
    assert data["measures"][0] == {
        "case": "command",
        "what": "agent ÷ limit, disk",
        "unit": "",
        "values": [0.61, 0.55, 0.72],
        "median": 0.61,
        "target": {"bound": 0.5, "at_least": True, "judged": "median"},
        "met": True,
    }
    assert data["measures"][1]["target"] is None


def test_file_system_is_that_of_the_deepest_and_latest_mount(tmp_path: Path) -> None:
    """
    The report names the file system that was really written to.
    """
    mounts = "\n".join(
        (
            "1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/none0 rw",
            f"2 1 0:5 / {tmp_path} rw - xfs /dev/vdb rw",
            f"3 1 0:5 / {tmp_path} rw,noatime - btrfs /dev/vdc rw",
            f"4 1 0:5 / {tmp_path}2 rw - tmpfs none rw",
        )
    )

    assert machine.file_system(tmp_path, mounts) == "btrfs (rw,noatime)"
    assert machine.file_system(Path("/"), mounts) == "ext4 (rw,relatime)"


def test_machine_is_described_without_its_name(tmp_path: Path) -> None:
    """
    The page tells what the numbers depend on and not where they were taken.
    """
    description = machine.describe(tmp_path, None)

    assert {"processor", "memory", "kernel", "file systems", "Python", "SQLite"} <= description.keys()
    assert str(tmp_path) not in str(description)
    assert "-" not in description["kernel"]


def test_waiting_cores_are_not_busy() -> None:
    """
    Idle and waiting for the disk is free time; guests are in the user's time already.
    """
    assert machine.busy_ticks("cpu  100 20 3 5000 700 4 5 6 90 8") == 138


def test_profile_ranks_threads_and_functions() -> None:
    """
    Time is counted once per function, also in recursion; waiting and importing are left out.
    """
    lines = profiling.summary(
        [
            'thread (0x7F): "ledger";run (conductor_loop/a.py:5);write (sqlite.py:7) 30',
            'thread (0x7F): "ledger";run (conductor_loop/a.py:5);run (conductor_loop/a.py:9) 10',
            "worker-1;run (conductor_loop/b.py:1);Event.wait (threading.py:3) 500",
            "worker-1;run (conductor_loop/b.py:1);load (<frozen importlib._bootstrap>:3);x (conductor_loop/c.py:1) 60",
        ]
    )

    assert "40 samples" in lines
    assert "100.0%  ledger" in lines
    assert " 75.0%  write (sqlite.py)" in lines
    assert "100.0%  run (conductor_loop/a.py)" in lines
    assert not any("wait" in line or "b.py" in line for line in lines)


def test_made_up_history_fits_the_schema(tmp_path: Path) -> None:
    """
    The rows of a filled history are closed, numbered on from the last, and have their attempts.
    """
    engine = create_engine(f"sqlite:///{tmp_path / rows.DATABASE}")
    tables.metadata.create_all(engine)
    engine.dispose()
    rows.fill(tmp_path, 30)
    rows.fill(tmp_path, 20)
    connection = sqlite3.connect(tmp_path / rows.DATABASE)
    numbers = connection.execute("SELECT min(number), max(number) FROM files").fetchone()
    attempts = connection.execute("SELECT count(*) FROM attempts").fetchone()[0]
    still_open = connection.execute("SELECT count(*) FROM files WHERE filed_at IS NULL").fetchone()[0]
    connection.close()

    assert rows.outcomes(tmp_path) == {"processed": 50}
    assert numbers == (1, 50)
    assert attempts == 50
    assert still_open == 0
    assert rows.first_claim_us(tmp_path) < rows.now_ns() // 1000


def test_history_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """
    An agent that wrote nothing is not taken for one without files.
    """
    with pytest.raises(BenchError, match="left no history"):
        rows.outcomes(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("log", "complaint"),
    [("1000000 a\n", "2 files dropped, 1 started"), ("1 a\n2 b\n3 a\n", "a was started twice")],
)
def test_latency_wants_every_file_started_once(tmp_path: Path, log: str, complaint: str) -> None:
    """
    A lost or doubled start is an error, not a smaller sample.
    """
    (tmp_path / "log").write_text(log, encoding="ascii")

    with pytest.raises(BenchError, match=complaint):
        latency._match({"a": 0, "b": 0}, tmp_path / "log")


def test_latency_is_from_drop_to_start(tmp_path: Path) -> None:
    """
    Latencies come in milliseconds, one per file.
    """
    (tmp_path / "log").write_text("7000000 b\n1500000 a\n", encoding="ascii")

    assert latency._match({"a": 1_000_000, "b": 2_000_000}, tmp_path / "log") == [0.5, 5.0]


@pytest.mark.parametrize("spawning", [True, False])
def test_limit_files_every_file(bench: Workbench, spawning: bool) -> None:
    """
    The program that everything is compared with does the whole work.
    """
    assert run_limit(bench, bench.disk, 20, spawning=spawning) > 0

    directory = next(bench.disk.glob("*-limit"))
    names = {f"intent-{number:06d}.json" for number in range(20)}
    assert {path.name for path in (directory / "processed").iterdir()} == names
    assert len(list((directory / "status").glob("intent-*.status"))) == 20
    assert not [path for path in (directory / "work").rglob("*") if path.is_file()]
    assert not list((directory / "handoff").iterdir())


def test_limit_stops_at_a_command_that_fails(bench: Workbench) -> None:
    """
    A limit that skipped its commands would be no limit.
    """
    bench.programs.noop.unlink()

    with pytest.raises(BenchError, match="limit program failed"):
        run_limit(bench, bench.disk, 5, spawning=True)


def test_fresh_directory_is_measured_at_once(bench: Workbench, tmp_path: Path) -> None:
    """
    Without an earlier run there is nothing to wait for.
    """
    inodes.wait_until_forgotten(bench, tmp_path, sleep=lambda seconds: pytest.fail("slept"))


def test_earlier_clean_up_is_waited_for_while_it_shows(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Measuring begins when files are created at full speed again.
    """
    rates = [1_700.0, 3_500.0, 45_000.0]
    monkeypatch.setattr(inodes, "creations_per_second", lambda directory: rates.pop(0))
    waits: list[float] = []
    inodes.mark_deletion(tmp_path)
    inodes.wait_until_forgotten(bench, tmp_path, sleep=waits.append)

    assert waits == [inodes.PROBE_SECONDS] * 2
    assert not rates


def test_slow_file_system_is_not_waited_for_for_ever(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A clean-up that is long past explains no slowness.
    """
    monkeypatch.setattr(inodes, "creations_per_second", lambda directory: 50.0)
    inodes.mark_deletion(tmp_path)
    past = (tmp_path / inodes.MARK).stat().st_mtime - inodes.EFFECT_SECONDS
    os.utime(tmp_path / inodes.MARK, (past, past))

    inodes.wait_until_forgotten(bench, tmp_path, sleep=lambda seconds: pytest.fail("slept"))


def test_closing_leaves_nothing_behind(bench: Workbench, tmp_path: Path) -> None:
    """
    A run of the bench leaves the disk as it was.
    """
    bench.fresh(bench.disk, "agent")
    bench.close()

    assert not list(tmp_path.iterdir())
