"""
The pages for Prometheus.
"""

from __future__ import annotations

import math
import re
import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import scenario
from conductor_loop.metrics.live import Live
from conductor_loop.metrics.prometheus import Exposition, Format

#: The contract, without prefix; histograms and the summary by their family.
NAMES = {
    "files_processed_total",
    "files_failed_total",
    "validation_failures_total",
    "retry_attempts_total",
    "throughput_files_per_second",
    "average_processing_time_seconds",
    "memory_usage_bytes",
    "goroutine_count",
    "worker_utilization_percent",
    "queue_depth",
    "backpressure_events_total",
    "timeout_count_total",
    "processing_latency_seconds_p50",
    "processing_latency_seconds_p95",
    "processing_latency_seconds_p99",
    "processing_duration_seconds",
    "wait_duration_seconds",
    "outcomes_total",
    "discovered_total",
    "handoff_files",
    "retry_waiting",
    "oldest_pending_timestamp_seconds",
    "last_success_timestamp_seconds",
    "workers",
    "workers_busy",
    "status_files_total",
    "directory_size_bytes",
    "disk_free_bytes",
    "threads",
    "watch_overflows_total",
    "watcher_probe_seconds",
    "ignored_entries",
    "intake_paused",
    "component_healthy",
    "store_commit_seconds",
    "store_bytes",
    "store_write_errors_total",
    "history_oldest_timestamp_seconds",
    "unaccounted_files",
    "build_info",
}


def fresh(form: Format = Format.TEXT) -> str:
    """
    Return the page of an agent that has just begun.
    """
    live = Live(max_workers=4, command_name="porch")
    return Exposition(snapshot=live.snapshot, version="0.1.0").render(form).decode()


@pytest.mark.parametrize("form", list(Format))
def test_the_scenario_equals_the_text_in_the_repository(form: Format):
    """
    Names, order, numbers and form; `python tests/scenario.py` writes it anew.
    """
    expected = scenario.TEXTS[form].read_text()

    assert expected == scenario.exposition(form)


def test_every_name_is_there_from_the_first_scrape():
    """
    So that rates and alerts work before the first file; nothing else has our prefix.
    """
    families = set(re.findall(r"^# TYPE conductor_loop_(\S+)", fresh(), re.MULTILINE))

    assert families == NAMES


def test_series_do_not_appear_later():
    """
    Outcomes, kinds, reasons and components have their series from the start; only paths come with a sample.
    """

    def series(page: str) -> list[str]:
        return [line.rpartition(" ")[0] for line in page.splitlines() if not line.startswith("#")]

    first = [name for name in series(fresh()) if "process_" not in name and "build_info" not in name]
    later = [name for name in series(scenario.exposition(Format.TEXT)) if "disk_free_bytes" not in name]

    assert first == later


def test_the_process_is_shown_under_the_usual_names():
    """
    Dashboards for any exporter find them.
    """
    page = fresh()

    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"):
        assert re.search(rf"^{name} \S", page, re.MULTILINE)


def test_unknown_moments_are_nan():
    """
    A 0 would be the year 1970, and an alert.
    """
    values = {sample.name: sample.value for family in parse_text(fresh()) for sample in family.samples}

    for name in ("last_success_timestamp_seconds", "processing_latency_seconds_p99", "watcher_probe_seconds"):
        assert math.isnan(values[f"conductor_loop_{name}"])


def test_openmetrics_is_readable_by_its_own_parser():
    """
    Types, suffixes, buckets and the end mark are as that format wants them; nothing has a creation time.
    """
    page = fresh(Format.OPENMETRICS)
    families = {family.name: family for family in parse_openmetrics(page)}

    assert families["conductor_loop_outcomes"].type == "counter"
    assert families["conductor_loop_wait_duration_seconds"].type == "histogram"
    assert "_created" not in page
    assert page.endswith("# EOF\n")


def test_buckets_are_cumulative():
    """
    Each holds those below it; the last is the count.
    """
    found = [
        sample.value
        for family in parse_text(scenario.exposition(Format.TEXT))
        for sample in family.samples
        if sample.name == "conductor_loop_processing_duration_seconds_bucket"
    ]

    assert found == sorted(found)
    assert found[-1] == 5


def test_labels_are_bounded():
    """
    Whatever kinds a store holds, there is one series for all that are not known (defect 26).
    """
    totals = {("outcomes", f"failed/kind{number}"): 1 for number in range(1000)}
    live = Live(max_workers=1, command_name="x", totals=totals)

    page = Exposition(snapshot=live.snapshot, version="1").render(Format.TEXT).decode()

    assert 'outcomes_total{kind="other",outcome="failed"} 1000.0' in page
    assert page.count("\n") == fresh().count("\n")


def test_one_page_shows_one_moment():
    """
    A page takes one snapshot, and none is taken before the first page.
    """
    live = Live(max_workers=1, command_name="x")
    taken = []

    def snapshot():
        taken.append(1)
        return live.snapshot()

    exposition = Exposition(snapshot=snapshot, version="1")
    assert len(taken) == 0
    exposition.render(Format.TEXT)
    assert len(taken) == 1


@pytest.mark.promtool
@pytest.mark.parametrize("page", [fresh(), scenario.exposition(Format.TEXT)], ids=["fresh", "scenario"])
def test_promtool_objects_to_one_inherited_name_only(page: str):
    """
    `goroutine_count` ends like a histogram's part; it stays, because dashboards read it.
    """
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False
    )

    objections = (checked.stdout + checked.stderr).splitlines()
    assert len(objections) == 1
    assert objections[0].startswith("conductor_loop_goroutine_count ")
