"""
Services that are one thread, and the deadline that they share.
"""

from __future__ import annotations

import itertools
import signal
import threading
import time

from conductor_loop.runtime.deadline import Deadline
from conductor_loop.runtime.service import ThreadService, Ticker
from waiting import wait_until


def no_crash(name: str, error: BaseException) -> None:
    raise AssertionError(f"{name}: {error!r}")


def test_deadline_counts_down_to_zero_and_not_below() -> None:
    """
    What is left can be given to any wait.
    """
    assert 59 < Deadline.after(60).remaining() <= 60
    assert not Deadline.after(60).expired
    past = Deadline(time.monotonic() - 1)
    assert past.expired
    assert past.remaining() == 0


def test_thread_carries_the_name_of_the_service() -> None:
    """
    Log lines and stack dumps name it.
    """
    seen = []
    service = ThreadService("sorter", lambda stop: seen.append(threading.current_thread()))
    service.start(no_crash)

    assert service.join(Deadline.after(10))
    assert [thread.name for thread in seen] == ["sorter"]
    assert seen[0].daemon


def test_service_runs_until_it_is_asked_to_end() -> None:
    """
    `alive` tells, and asking twice is as good as once.
    """
    service = ThreadService("sorter", assert_set)
    assert not service.alive
    service.start(no_crash)
    assert service.alive
    assert not service.join(Deadline.after(0.01))

    service.request_stop()
    service.request_stop()

    assert service.join(Deadline.after(10))
    assert not service.alive


def assert_set(stop: threading.Event) -> None:
    assert stop.wait(10)


def test_stop_before_start_is_not_lost() -> None:
    """
    A service that was asked to end before it began ends at once.
    """
    service = ThreadService("sorter", assert_set)
    service.request_stop()
    service.start(no_crash)

    assert service.join(Deadline.after(10))


def test_join_of_a_service_that_never_started_is_at_once() -> None:
    """
    Stopping half a start is safe.
    """
    assert ThreadService("sorter", assert_set).join(Deadline.after(0))


def test_wake_is_called_after_the_stop_event_is_set() -> None:
    """
    A body that waits on something else finds the event set when it wakes up.
    """
    seen: list[bool] = []
    service = ThreadService("sorter", assert_set, wake=lambda: seen.append(service._stop.is_set()))
    service.request_stop()

    assert seen == [True]


def test_crash_is_told_with_name_and_cause() -> None:
    """
    Even one that is no `Exception`.
    """
    crashes: list[tuple[str, BaseException]] = []
    for error in (RuntimeError("no"), SystemExit(3)):

        def body(stop: threading.Event, error: BaseException = error) -> None:
            raise error

        service = ThreadService("sorter", body)
        service.start(lambda name, caught: crashes.append((name, caught)))
        assert service.join(Deadline.after(10))

    assert [(name, type(error)) for name, error in crashes] == [
        ("sorter", RuntimeError),
        ("sorter", SystemExit),
    ]


def test_ticker_ticks_at_once_and_then_every_interval() -> None:
    """
    The first tick does not wait for the interval.
    """
    ticks: list[float] = []
    ticker = Ticker("sampler", lambda: ticks.append(time.monotonic()), interval=0.02)
    ticker.start(no_crash)
    wait_until(lambda: len(ticks) >= 3)
    ticker.request_stop()

    assert ticker.join(Deadline.after(10))
    assert all(later - earlier >= 0.019 for earlier, later in itertools.pairwise(ticks))


def test_ticker_does_not_wait_out_its_interval_at_the_end() -> None:
    """
    It waits on its stop event.
    """
    ticks: list[int] = []
    ticker = Ticker("sampler", lambda: ticks.append(1), interval=3600)
    ticker.start(no_crash)
    wait_until(lambda: ticks)
    ticker.request_stop()

    assert ticker.join(Deadline.after(10))
    assert ticks == [1]


def test_signal_that_does_not_wake_the_join_is_handled_soon_all_the_same() -> None:
    """
    One that comes just before a wait begins, or to another thread, does not end the wait by itself.
    """
    handled: list[float] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: handled.append(time.monotonic()))
    service = ThreadService("sorter", assert_set)
    service.start(no_crash)
    to_itself = threading.Timer(0.05, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1))
    began = time.monotonic()
    to_itself.start()
    try:
        assert not service.join(Deadline.after(0.9))
    finally:
        signal.signal(signal.SIGUSR1, before)
        service.request_stop()
        to_itself.join()

    assert service.join(Deadline.after(10))
    assert handled[0] - began < 0.7


def test_ticker_takes_another_interval_at_once() -> None:
    """
    It does not wait out the one that was long.
    """
    ticks: list[int] = []
    ticker = Ticker("sampler", lambda: ticks.append(1), interval=3600)
    ticker.start(no_crash)
    wait_until(lambda: ticks)
    ticker.set_interval(0.01)
    wait_until(lambda: len(ticks) >= 4)
    ticker.set_interval(3600)
    ticker.request_stop()

    assert ticker.join(Deadline.after(10))
