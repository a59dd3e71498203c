"""
What is measured is complete, durable, and survives a restart.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from agents import INTENT, Agent, agent
from conservation import assert_conserved
from waiting import wait_until

EXPECTED = Path(__file__).parents[1] / "data" / "metrics.json"
#: their keys are what happened
_OPEN = ("validation_errors_by_type", "processing_errors_by_type", "disk_free_bytes_by_path")
#: these begin with the process
_OF_THE_PROCESS = (
    "conductor_loop_watch_overflows",
    "conductor_loop_backpressure_events",
    "process_",
    "python_",
)


def test_the_json_has_every_key_before_and_after_the_first_outcome(tmp_path: Path) -> None:
    """
    The same shape always, numbers from zero, percentiles null before there is anything.
    """
    with agent(tmp_path, _settings()) as one:
        one.start()
        before = one.get("/metrics")[1]
        _one_of_each(one)
        after = one.get("/metrics")[1]
        one.stop()

        assert_conserved(tmp_path, ["intent-good.json", "intent-bad.json", "intent-fails.json"])
    expected = _keys(json.loads(EXPECTED.read_text()))
    assert _keys(before) >= expected
    assert _keys(after) >= expected
    assert before["performance"]["latency_percentiles"] == {"50": None, "95": None, "99": None}
    assert before["performance"]["average_processing_time"] == "0s"
    assert after["performance"]["files_processed_total"] == 1
    assert after["performance"]["files_failed_total"] == 1
    assert after["performance"]["validation_failures_total"] == 1
    assert after["performance"]["retry_attempts_total"] == 1
    assert after["errors"]["processing_errors_by_type"] == {"sh command failed": 1}
    assert after["errors"]["validation_errors_by_type"] == {"missing required field": 1}
    assert re.fullmatch(r"([\d.]+(h|m|s|ms))+", after["performance"]["average_processing_time"])
    assert all(value > 0 for value in after["performance"]["latency_percentiles"].values())


def test_counters_go_on_over_a_restart(tmp_path: Path) -> None:
    """
    Every counter and histogram that is not about the process has the value it had.
    """
    with agent(tmp_path, _settings()) as one:
        one.start()
        _one_of_each(one)
        before = _counters(one)
        one.stop()
        one.start()
        again = _counters(one)
        one.drop("intent-more.json")
        one.filed(4)
        wait_until(lambda: _counters(one)["conductor_loop_files_processed_total"] == 2)
        one.stop()

        assert_conserved(tmp_path)
    assert again == before
    assert before["conductor_loop_files_processed_total"] == 1
    assert before["conductor_loop_status_files_total"] == 3


def test_once_exits_with_0_if_all_were_processed_and_1_if_not(tmp_path: Path) -> None:
    """
    And with 0 if there was nothing; what an earlier run did does not matter (defect 6).
    """
    with agent(tmp_path, _settings()) as one:
        assert one.once() == 0
        one.drop("intent-good.json")
        assert one.once() == 0
        one.drop("intent-fails.json", INTENT.replace(b"cell", b"fails"))
        assert one.once() == 1
        one.drop("intent-bad.json", b"{}")
        assert one.once() == 1
        assert one.once() == 0

        assert_conserved(tmp_path, ["intent-good.json", "intent-fails.json", "intent-bad.json"])


def test_the_terminal_says_what_happened_and_where_to_look(tmp_path: Path) -> None:
    """
    The addresses at first, then a line for each file with its outcome.
    """
    with agent(tmp_path, _settings()) as one:
        one.start()
        _one_of_each(one)
        one.stop()
        text = one.log_text()

        assert_conserved(tmp_path)
    assert f"http://127.0.0.1:{one.port}/metrics" in text
    assert f"http://127.0.0.1:{one.port}/health" in text
    assert str(one.handoff) in text
    assert re.search(r"Z processed +intent-good\.json .*\ds\n", text)
    assert re.search(r"Z rejected +intent-bad\.json missing_field: .*\n", text)
    assert re.search(r"Z failed +intent-fails\.json command_failed: sh exited with code 75.*\ds\n", text)


def _settings() -> dict[str, dict[str, object]]:
    return {
        "processor": {
            "command": ["/bin/sh", "-c", 'grep -q fails "$1" && exit 75; sleep 0.02', "sh", "{path}"]
        },
        "retry": {"max_attempts": 2},
    }


def _one_of_each(one: Agent) -> None:
    one.drop("intent-good.json")
    one.drop("intent-bad.json", b"{}")
    one.drop("intent-fails.json", INTENT.replace(b"cell", b"fails"))
    one.filed(3)
    wait_until(lambda: _counters(one)["conductor_loop_status_files_total"] == 3)


def _keys(document: dict[str, Any], path: str = "") -> set[str]:
    """
    Return the dotted names of everything in a document.
    """
    found = set()
    for key, value in document.items():
        found.add(path + key)
        if isinstance(value, dict) and key not in _OPEN:
            found |= _keys(value, f"{path}{key}.")
    return found


def _counters(one: Agent) -> dict[str, float]:
    """
    Return the counters and histograms that are durable.
    """
    text = one.get("/metrics/prometheus")[1].decode()
    durable = set(re.findall(r"^# TYPE (\S+) (?:counter|histogram)$", text, re.MULTILINE))
    found = {}
    for line in text.splitlines():
        series, _, value = line.rpartition(" ")
        name = re.sub(r"(_bucket|_sum|_count|_created)?(\{.*)?$", "", series)
        if name in durable and not series.startswith(_OF_THE_PROCESS):
            found[series] = float(value)
    return found
