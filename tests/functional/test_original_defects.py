"""
What broke the program that this one replaces; its 27 known defects are numbered, and "(defect N)" in the docstring of a
test says that the test would find defect N here.

Three cannot apply, for what broke there does not exist here: 23 (a made-up package where the command is missing; here that
pauses intake), 25 (a second mode of the agent with counters of its own) and of 26 the password of the metrics, which
comes with a later version.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from agents import INTENT, Agent, agent
from conservation import assert_conserved
from waiting import wait_until

#: does what the file's name asks for
BY_NAME = 'case "$1" in *fails*) echo "no such cell"; exit 1 ;; *hangs*) exec sleep 60 ;; esac'
#: a handler that takes its time for some files
TIMED = """
import threading

def handle(file):
    if "slow" in file.name:
        threading.Event().wait(0.03)
"""
WATCHES = pytest.mark.parametrize("watch", ["inotify", "poll"])


@pytest.mark.slow
def test_failing_files_stop_neither_metrics_nor_workers_after_many_samples(tmp_path: Path) -> None:
    """
    More failing, rejected and timed-out files than workers, once the sampler has ticked for a while: numbers are
    asked for all the time and answered, and good files that come later are processed (defects 1, 2 and 3 of the
    program this one replaces: its first tick deadlocked the metrics, and then each bad file a worker). Idle again, it
    stops at once (defect 21: that took it ten seconds and more).
    """
    bad = [f"intent-{kind}-{number}.json" for kind in ("fails", "hangs", "rejected") for number in range(3)]
    good = [f"intent-good-{number}.json" for number in range(20)]
    with agent(tmp_path, _by_name()) as one:
        one.start()
        _pass_samples(one, 4)
        for name in bad:
            one.drop(name, b"{}" if "rejected" in name else INTENT)
        wait_until(lambda: _ended(_metrics(one)) == len(bad))
        for name in good:
            one.drop(name)
        wait_until(lambda: _metrics(one)["performance"]["files_processed_total"] == len(good))
        _pass_samples(one, 1)
        metrics, page = _metrics(one), one.get("/metrics/prometheus")[1]
        assert one.stop(timeout=5) == 0

        rows = assert_conserved(tmp_path, [*bad, *good])
    kinds = Counter(row["kind"] for row in rows)
    assert kinds == {"command_failed": 3, "timeout": 3, "missing_field": 3, None: len(good)}
    performance, resources = metrics["performance"], metrics["resources"]
    assert performance["throughput_files_per_sec"] > 0
    assert performance["average_processing_time"] != "0s"
    assert all(
        resources[name] > 0 for name in ("memory_usage_bytes", "thread_count", "file_descriptor_count")
    )
    assert _value(page, "conductor_loop_memory_usage_bytes") > 0
    assert _value(page, "conductor_loop_goroutine_count") > 0
    assert _value(page, "conductor_loop_average_processing_time_seconds") > 0


@pytest.mark.slow
def test_no_valid_file_fails_in_any_of_many_quick_starts(tmp_path: Path) -> None:
    """
    A file that is claimed while the agent is still starting, or about to end, is run like any other (defects 4 and 5
    of the program this one replaces: it cancelled work that a worker had begun too early).
    """
    with agent(tmp_path) as one:
        names = [f"intent-{turn}-{number}.json" for turn in range(15) for number in range(4)]
        for turn in range(15):
            for name in names[4 * turn : 4 * turn + 4]:
                one.drop(name)
            assert one.once() == 0

        rows = assert_conserved(tmp_path, names)
    assert {(row["outcome"], row["attempts"], row["interruptions"]) for row in rows} == {("processed", 1, 0)}


@WATCHES
def test_the_same_content_under_other_names_is_processed(tmp_path: Path, watch: str) -> None:
    """
    Files are told apart by name and arrival, never by what is in them (defect 12 of the program this one replaces).
    """
    names = [f"intent-{number}.json" for number in range(10)]
    with agent(tmp_path, {"agent": {"watch": watch}}) as one:
        one.drop(names[0])
        one.start()
        for name in names[1:]:
            one.drop(name)
        one.filed(len(names))
        assert one.stop() == 0

        rows = assert_conserved(tmp_path, names)
    assert {row["outcome"] for row in rows} == {"processed"}
    assert len({row["sha256"] for row in rows}) == 1


@WATCHES
def test_a_file_dropped_again_after_its_end_is_processed_again(tmp_path: Path, watch: str) -> None:
    """
    The same name with the same content, after a success and after a failure, and the failed file itself put back
    (defects 13 and 14 of the program this one replaces: it left them lying for ever).
    """
    settings = _by_name(f'test -e "{tmp_path}/mended" || {BY_NAME}')
    with agent(tmp_path, {**settings, "agent": {"watch": watch, "max_workers": 2}}) as one:
        one.start()
        for again in (1, 2):
            one.drop("intent-good.json")
            one.drop("intent-fails.json")
            one.filed(2 * again)
        (tmp_path / "mended").touch()
        (one.failed / "intent-fails.json").rename(one.handoff / "intent-fails.json")
        wait_until((one.processed / "intent-fails.json").exists)
        assert one.stop() == 0

        (taken,) = one.rows(
            "SELECT number FROM files WHERE name LIKE '%fails%' AND target = name AND kind > ''"
        )
        rows = assert_conserved(tmp_path, gone={taken["number"]})
    ends = Counter((row["name"], row["outcome"]) for row in rows)
    assert ends == {
        ("intent-good.json", "processed"): 2,
        ("intent-fails.json", "failed"): 2,
        ("intent-fails.json", "processed"): 1,
    }


def test_a_stop_says_what_stays_for_the_next_start(tmp_path: Path) -> None:
    """
    Claimed files that have not run are counted in the log instead of passed over (defect 21 of the program this one
    replaces: it claimed that all were processed), and the next start works them off.
    """
    names = [f"intent-{number}.json" for number in range(9)]
    held = f'until test -e "{tmp_path}/go"; do sleep 0.02; done'
    with agent(tmp_path, _by_name(held, timeout="20s")) as one:
        one.start()
        for name in names:
            one.drop(name)
        wait_until(lambda: _metrics(one)["workers"]["queue_depth"] == 7)
        wait_until(lambda: _metrics(one)["workers"]["active_workers"] == 2)
        assert one.process is not None
        one.process.terminate()
        wait_until(lambda: "stopping: SIGTERM" in one.log_text())
        (tmp_path / "go").touch()
        assert one.ended() == 0
        assert "7 claimed files stay for the next start" in one.log_text()
        assert one.once() == 0

        assert_conserved(tmp_path, names)
    assert one.log_text().count("stay for the next start") == 1


def test_every_section_of_metrics_and_health_says_something(tmp_path: Path) -> None:
    """
    No object of either document is empty once something of everything has happened, but those that list what is wrong
    (defect 26 of the program this one replaces: half of `/metrics` and all of `/health` was `{}`).
    """
    with agent(tmp_path, _by_name()) as one:
        one.start()
        for name in ("good", "fails", "rejected"):
            one.drop(f"intent-{name}.json", b"{}" if name == "rejected" else INTENT)
        wait_until(lambda: _ended(_metrics(one)) == 3)
        metrics, health = _metrics(one), one.get("/health")[1]
        one.stop()

        assert_conserved(tmp_path)
    assert _empty(metrics) == []
    assert set(_empty(health)) <= {"details.components", "details.paused", "warnings"}


@pytest.mark.slow
def test_percentiles_are_of_the_last_thousand_however_many_there_were(tmp_path: Path) -> None:
    """
    The samples that a scrape sorts are bounded: a sixth of all was slow, but so long ago that no percentile shows it.
    After a restart they are read again from the newest rows (defect 26 of the program this one replaces).
    """
    (tmp_path / "timed.py").write_text(TIMED)
    names = [f"intent-{'a-slow' if number < 200 else 'b-fast'}-{number}.json" for number in range(1200)]
    settings: dict[str, dict[str, object]] = {"processor": {"kind": "python", "handler": "timed:handle"}}
    with agent(tmp_path, settings) as one, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        for name in names:
            one.drop(name)
        one.start()
        wait_until(lambda: _ended(_metrics(one)) == len(names), 60, step=0.1)
        before = _metrics(one)["performance"]
        one.stop()
        durations = one.rows("SELECT duration_us FROM files ORDER BY number DESC LIMIT 1000")
        one.start()
        after = _metrics(one)["performance"]
        one.stop()

        assert_conserved(tmp_path, names)
    newest = sorted(row["duration_us"] / 1e6 for row in durations)
    expected = {"50": newest[499], "95": newest[949], "99": newest[989]}
    assert expected["95"] < 0.03
    assert before["latency_percentiles"] == pytest.approx(expected, abs=1e-6)
    assert after["latency_percentiles"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_a_file_costs_no_more_writing_the_more_came_before(tmp_path: Path) -> None:
    """
    What is written for 300 files differs by the size of the commits alone (defect 11 of the program this one replaces:
    all it knew was written anew for every file, 13 times as much for the seventh 300 as for the first), and on the log
    it is less than 100 bytes a file (defect 27).
    """
    written, logged = [], []
    with agent(tmp_path) as one, (tmp_path / "stderr").open("ab") as stderr:
        one.start(stderr=stderr)
        assert one.process is not None
        process = psutil.Process(one.process.pid)
        for turn in range(7):
            begin = process.io_counters().write_chars, stderr.seek(0, 2)
            for number in range(300):
                one.drop(f"intent-{turn}-{number}.json")
            one.filed(300 * (turn + 1))
            wait_until(lambda: not one.rows("SELECT 1 FROM files WHERE filed_at IS NULL"), step=0.1)
            written.append(process.io_counters().write_chars - begin[0])
            logged.append(stderr.seek(0, 2) - begin[1])
        one.stop()

        assert_conserved(tmp_path)
    assert min(written[4:]) < 4 * written[0]
    assert max(logged) < 100 * 300


def _by_name(script: str = BY_NAME, timeout: str = "1s") -> dict[str, dict[str, object]]:
    return {
        "agent": {"max_workers": 2},
        "processor": {"command": ["/bin/sh", "-c", script, "sh", "{path}"], "timeout": timeout},
        "retry": {"max_attempts": 1},
        "history": {"sample_interval": "1s"},
    }


def _pass_samples(one: Agent, count: int) -> None:
    """
    Wait until the sampler has ticked so many times more, asking for numbers meanwhile.
    """
    before = _samples(one)
    wait_until(lambda: _metrics(one) and _samples(one) >= before + count)


def _samples(one: Agent) -> int:
    return len(one.rows("SELECT taken_at FROM samples"))


def _metrics(one: Agent) -> dict[str, Any]:
    status, document = one.get("/metrics")
    assert status == 200
    found: dict[str, Any] = document
    return found


def _ended(metrics: dict[str, Any]) -> int:
    totals = ("files_processed_total", "files_failed_total", "validation_failures_total")
    return sum(metrics["performance"][name] for name in totals)


def _value(page: bytes, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", page.decode(), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def _empty(document: dict[str, Any], path: str = "") -> list[str]:
    """
    Return the dotted names of everything in a document that is an empty object or list.
    """
    found = []
    for key, value in document.items():
        if value in ({}, []):
            found.append(path + key)
        elif isinstance(value, dict):
            found += _empty(value, f"{path}{key}.")
    return found
