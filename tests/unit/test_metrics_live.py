"""
The recorder behind the live numbers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from conductor_loop.metrics import counting
from conductor_loop.metrics.live import RECENT, Live
from conductor_loop.metrics.snapshot import Condition, Gauges, Pause, Phase, State
from conductor_loop.model import Kind, Outcome, PauseReason, Sample
from scenario import NOW, Clock, ended, processed


def make(monotonic: Callable[[], float] | None = None, **options: object) -> Live:
    """
    Return live numbers at a standing wall clock.
    """
    return Live(  # type: ignore[arg-type]
        max_workers=4,
        command_name="porch",
        monotonic=monotonic or Clock(),
        now=lambda: NOW,
        **options,
    )


def test_everything_is_zero_or_unknown_at_first():
    """
    Before the first outcome numbers are 0 and percentiles are None.
    """
    snapshot = make().snapshot()

    assert snapshot.files_processed_total == snapshot.files_failed_total == 0
    assert snapshot.validation_failures_total == snapshot.retry_attempts_total == snapshot.timeout_count == 0
    assert snapshot.throughput_files_per_sec == snapshot.average_processing_time == 0
    assert snapshot.latency_percentiles == {"50": None, "95": None, "99": None}
    assert snapshot.last_success_at is None
    assert Gauges() == snapshot.gauges
    assert snapshot.phase is Phase.STARTING


def test_totals_go_on_from_the_store():
    """
    Durable counters begin where the store has them and are replaced by what a commit tells.
    """
    live = make(totals={("outcomes", "processed/"): 10, ("outcomes", "failed/timeout"): 3})
    live.publish({("outcomes", "processed/"): 11}, [processed(11, 0.5)], 0.01)

    snapshot = live.snapshot()

    assert (snapshot.files_processed_total, snapshot.files_failed_total) == (11, 3)


def test_a_snapshot_does_not_change_any_more():
    """
    What comes later is in later snapshots only.
    """
    live = make()
    before = live.snapshot()
    live.publish({("outcomes", "processed/"): 1}, [processed(1, 0.5)], 0.01)
    live.pause(PauseReason.DISK, "full")
    live.warn("a", "b")
    live.queue_depth = 3

    assert (
        before.files_processed_total == before.queue_depth == len(before.pauses) == len(before.warnings) == 0
    )
    assert live.snapshot().files_processed_total == 1


def test_percentiles_are_of_the_last_thousand_by_number():
    """
    A late report of an old file does not push out a newer one.
    """
    live = make(recent=[(number, 1.0) for number in range(RECENT + 5, 5, -1)])
    live.publish({}, [processed(3, 99.0), processed(5000, 5.0)], 0.0)

    snapshot = live.snapshot()

    assert snapshot.latency_percentiles == {"50": 1.0, "95": 1.0, "99": 1.0}
    assert snapshot.average_processing_time == pytest.approx((RECENT - 1 + 5.0) / RECENT)


def test_more_recent_files_than_needed_are_cut_to_the_newest():
    """
    The constructor takes any number of files in any order.
    """
    live = make(recent=[(number, 9.0 if number < 1000 else 1.0) for number in range(2000)])

    assert live.snapshot().average_processing_time == 1.0


def test_average_and_percentiles_leave_out_what_never_ran():
    """
    Rejected and vanished files change neither.
    """
    live = make()
    live.publish(
        {},
        [
            processed(1, 2.0),
            ended(2, Outcome.FAILED, Kind.TIMEOUT, 4.0, 0.0),
            ended(3, Outcome.REJECTED, Kind.EMPTY, None, None),
            ended(4, Outcome.FAILED, Kind.POISON, None, None),
        ],
        0.0,
    )

    snapshot = live.snapshot()

    assert snapshot.average_processing_time == 3.0
    assert snapshot.latency_percentiles == {"50": 2.0, "95": 4.0, "99": 4.0}


def test_throughput_counts_filed_files_of_the_last_minute():
    """
    Vanished files were not worked on; after a minute of nothing the rate is 0 again.
    """
    monotonic = Clock()
    live = make(monotonic)
    ends = [processed(number, 0.1) for number in range(30)]
    ends += [
        ended(40, Outcome.REJECTED, Kind.EMPTY, None, None),
        ended(41, Outcome.VANISHED, None, None, None),
    ]
    live.publish({}, ends, 0.0)

    assert live.snapshot().throughput_files_per_sec == pytest.approx(31 / 60)
    monotonic.now += 60
    assert live.snapshot().throughput_files_per_sec == 0


def test_status_rate_is_the_growth_of_the_total():
    """
    What the store counted before this process is not of the last minute.
    """
    live = make(totals={counting.STATUS_FILES: 1000})
    live.publish({counting.STATUS_FILES: 1006}, [], 0.0)
    live.publish({}, [], 0.0)

    snapshot = live.snapshot()

    assert snapshot.status_files_per_sec == pytest.approx(0.1)
    assert snapshot.status_files_total == 1006


def test_last_success_is_the_newest_processed_file():
    """
    Failures do not count, and neither does an older success told later.
    """
    live = make(last_success_at=NOW)
    live.publish({}, [ended(9, Outcome.FAILED, Kind.TIMEOUT, 1.0, 0.0)], 0.0)
    assert live.snapshot().last_success_at == NOW

    live.publish({}, [processed(7, 1.0), processed(2, 1.0)], 0.0)
    assert live.snapshot().last_success_at == NOW + 7_000_000


def test_commits_are_counted_and_timed():
    """
    Every publication is one commit.
    """
    live = make()
    live.publish({}, [], 0.25)
    live.publish({}, [], 0.5)

    snapshot = live.snapshot()

    assert (snapshot.commits, snapshot.commit_seconds) == (2, 0.75)


def test_gauges_are_replaced_one_by_one():
    """
    Those that are not named keep their value; None is a value.
    """
    live = make()
    live.set(still_written=3, oldest_pending_at=NOW)
    live.set(retry_waiting=2, oldest_pending_at=None)
    live.directory_bytes(77)

    assert Gauges(still_written=3, retry_waiting=2, directory_bytes=77) == live.snapshot().gauges


def test_an_unknown_gauge_is_refused():
    """
    A misspelt name is an error where it is written, and changes nothing.
    """
    live = make()

    with pytest.raises(TypeError, match="stil_written"):
        live.set(still_written=1, stil_written=3)

    assert live.snapshot().gauges.still_written == 0


def test_events_are_counted():
    """
    Those that begin at 0 with the process.
    """
    live = make()
    live.backpressure()
    live.overflowed()
    live.overflowed()
    for _ in range(3):
        live.store_error()

    snapshot = live.snapshot()

    assert (snapshot.backpressure_events, snapshot.watch_overflows, snapshot.store_write_errors) == (1, 2, 3)


def test_utilization_is_the_share_of_busy_workers():
    """
    In percent, of the configured number of workers.
    """
    live = make()
    live.worker_busy(+1)
    live.worker_busy(+1)
    live.worker_busy(-1)

    snapshot = live.snapshot()

    assert (snapshot.active_workers, snapshot.worker_utilization) == (1, 25.0)


def test_samples_and_probes_show_the_last_one():
    """
    Memory and probe time are those told last.
    """
    live = make()
    live.sample(Sample(taken_at=1, memory_bytes=10))
    live.sample(Sample(taken_at=2, memory_bytes=20))
    live.probe(0.5)
    live.probe(0.25)

    snapshot = live.snapshot()

    assert (snapshot.memory_usage_bytes, snapshot.probe_seconds) == (20, 0.25)


def test_a_pause_told_again_keeps_its_beginning():
    """
    Only its explanation changes; resuming it, even twice, ends it.
    """
    moments = iter((NOW, NOW + 5))
    live = Live(max_workers=1, command_name="x", now=lambda: next(moments))
    live.pause(PauseReason.DISK, "first")
    live.pause(PauseReason.DISK, "second")

    assert {PauseReason.DISK: Pause(NOW, "second")} == live.snapshot().pauses


def test_resuming_ends_a_pause():
    """
    Only the one that is named; resuming what does not stand is nothing.
    """
    live = make()
    live.pause(PauseReason.DISK, "full")
    live.pause(PauseReason.STORE, "locked")
    live.resume(PauseReason.DISK)
    live.resume(PauseReason.DISK)

    assert {PauseReason.STORE} == set(live.snapshot().pauses)


def test_health_takes_known_components_and_states_only():
    """
    A misspelt word is an error where it is written.
    """
    live = make()
    live.health("store", "degraded", "slow")

    assert {"store": Condition(State.DEGRADED, "slow")} == live.snapshot().conditions
    with pytest.raises(ValueError, match="no component: 'stroe'"):
        live.health("stroe", "degraded")
    with pytest.raises(ValueError, match="bad"):
        live.health("store", "bad")
    with pytest.raises(ValueError, match="walking"):
        live.phase("walking")


def test_warnings_come_and_go_by_key():
    """
    A later message takes the place of an earlier one with the same key.
    """
    live = make()
    live.warn("sqlite", "old")
    live.warn("sqlite", "very old")
    live.warn("watch", "polling")
    live.warn("watch", None)
    live.warn("watch", None)

    assert live.snapshot().warnings == {"sqlite": "very old"}


def test_the_main_loop_counts_as_stuck_after_ten_seconds():
    """
    Only while the agent runs: it need not tick while it starts or stops.
    """
    monotonic = Clock()
    live = make(monotonic)
    monotonic.now += 100
    assert live.snapshot().ticking

    live.phase("running")
    monotonic.now += 9.9
    assert live.snapshot().ticking
    monotonic.now += 0.1
    assert not live.snapshot().ticking
    live.beat()
    assert live.snapshot().ticking
    monotonic.now += 10
    live.phase("stopping")
    monotonic.now += 30
    assert live.snapshot().ticking


def test_nothing_is_lost_between_threads():
    """
    Many writers and a reader at once: every number is right in the end, and readers never fail.
    """
    live = make()
    writers = 8
    rounds = 300

    def write(first: int) -> None:
        for number in range(first * rounds, (first + 1) * rounds):
            live.worker_busy(+1)
            live.backpressure()
            live.publish({("discovered", str(first)): number}, [processed(number, 1.0)], 1.0)
            live.worker_busy(-1)

    threads = [threading.Thread(target=write, args=(first,)) for first in range(writers)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        live.snapshot()
    for thread in threads:
        thread.join()

    snapshot = live.snapshot()
    assert snapshot.backpressure_events == snapshot.commits == snapshot.commit_seconds == writers * rounds
    assert snapshot.active_workers == 0
    assert snapshot.average_processing_time == 1.0
    assert snapshot.total("discovered", "7") == writers * rounds - 1


def test_other_number_of_workers_is_shown_at_once() -> None:
    """
    While more than that still have a file in hand, nobody sees more than 100 %.
    """
    live = Live(max_workers=8, command_name="porch")
    live.worker_busy(4)
    before = live.snapshot()
    live.configure(max_workers=2, command_name="render")
    after = live.snapshot()

    assert (before.max_workers, before.worker_utilization, before.command_name) == (8, 50.0, "porch")
    assert (after.max_workers, after.worker_utilization, after.command_name) == (2, 100.0, "render")
    assert after.active_workers == 4
