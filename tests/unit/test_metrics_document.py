"""
The JSON of `GET /metrics`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

import scenario
from conductor_loop.metrics import document
from conductor_loop.metrics.live import Live
from conductor_loop.model import Outcome

#: The contract; more keys may be added.
KEYS = {
    "performance": {
        "files_processed_total",
        "files_failed_total",
        "validation_failures_total",
        "retry_attempts_total",
        "throughput_files_per_sec",
        "average_processing_time",
        "processing_duration_total_seconds",
        "status_files_per_sec",
        "latency_percentiles",
    },
    "resources": {
        "memory_usage_bytes",
        "goroutine_count",
        "thread_count",
        "file_descriptor_count",
        "cpu_percent",
        "directory_size_bytes",
        "disk_free_bytes",
    },
    "workers": {
        "max_workers",
        "active_workers",
        "worker_utilization",
        "queue_depth",
        "backpressure_events",
    },
    "errors": {"timeout_count", "validation_errors_by_type", "processing_errors_by_type"},
}


def fresh() -> dict[str, Any]:
    """
    Return the document of an agent that has just begun, through JSON.
    """
    live = Live(max_workers=4, command_name="porch")
    return json.loads(document.encode(document.metrics(live.snapshot())))


def test_the_scenario_equals_the_text_in_the_repository():
    """
    Names, order, numbers and form; `python tests/scenario.py` writes it anew.
    """
    expected = (scenario.DATA / "metrics.json").read_bytes()

    assert expected == scenario.metrics_json()


def test_every_key_of_the_contract_is_there_from_the_start():
    """
    None is missing or renamed before the first file.
    """
    found = fresh()

    assert {section: found[section].keys() & keys for section, keys in KEYS.items()} == KEYS
    assert found["performance"]["latency_percentiles"] == {"50": None, "95": None, "99": None}
    assert found["performance"]["average_processing_time"] == "0s"
    assert found["errors"]["validation_errors_by_type"] == {}


def test_numbers_are_numbers_before_the_first_file():
    """
    Zero, not null.
    """
    found = fresh()
    numbers = {
        name: value
        for section in KEYS
        for name, value in found[section].items()
        if not isinstance(value, dict | str)
    }

    assert numbers.pop("max_workers") == 4
    assert set(numbers.values()) == {0}


def test_goroutine_count_repeats_the_threads():
    """
    Existing dashboards read it.
    """
    found = json.loads(scenario.metrics_json())["resources"]

    assert found["goroutine_count"] == found["thread_count"] == 9


def test_kinds_of_another_version_are_shown_as_other():
    """
    A store that a newer program wrote does not make the maps grow without bound.
    """
    live = Live(
        max_workers=1,
        command_name="porch",
        totals={
            ("outcomes", "failed/eaten_by_dog"): 2,
            ("outcomes", "failed/stolen"): 1,
            ("outcomes", "rejected/ugly"): 4,
            ("outcomes", "failed/empty"): 8,
            ("outcomes", "lost/"): 16,
        },
    )

    found = document.metrics(live.snapshot())

    assert found["errors"]["processing_errors_by_type"] == {"other": 11}
    assert found["errors"]["validation_errors_by_type"] == {"other": 4}
    assert found["performance"]["files_failed_total"] == 11


def test_a_rejected_file_is_a_validation_failure_and_no_failure():
    """
    The two counters are apart.
    """
    live = Live(max_workers=1, command_name="x", totals={("outcomes", "rejected/empty"): 1})

    found = document.metrics(live.snapshot())["performance"]

    assert (found["validation_failures_total"], found["files_failed_total"]) == (1, 0)
    assert live.snapshot().ended(Outcome.REJECTED) == {"empty": 1}


def test_nan_is_refused():
    """
    It is no JSON.
    """
    with pytest.raises(ValueError, match="not JSON compliant"):
        document.encode({"a": float("nan")})
