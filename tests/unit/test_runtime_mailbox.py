"""
The queue that is emptied in batches, and the thread that takes messages off others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from conductor_loop.runtime import relay
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.runtime.mailbox import Mailbox
from conductor_loop.runtime.relay import Relay
from waiting import wait_until


def no_crash(name: str, error: BaseException) -> None:
    raise AssertionError(f"{name}: {error!r}")


def test_take_returns_everything_that_is_there_in_order() -> None:
    """
    Messages that came meanwhile make one batch.
    """
    mailbox: Mailbox[int] = Mailbox()
    for number in range(5):
        mailbox.put(number)

    assert mailbox.size == 5
    assert mailbox.take(0) == [0, 1, 2, 3, 4]
    assert mailbox.empty


def test_take_bounds_a_batch() -> None:
    """
    A flood cannot put off what follows a batch; the rest comes with the next one.
    """
    mailbox: Mailbox[int] = Mailbox(most=3)
    for number in range(5):
        mailbox.put(number)

    assert mailbox.take(0) == [0, 1, 2]
    assert mailbox.take(0) == [3, 4]


def test_take_gives_up_after_its_time() -> None:
    """
    Nothing is no message.
    """
    mailbox: Mailbox[int] = Mailbox()
    began = time.monotonic()

    assert mailbox.take(0.05) == []
    assert 0.05 <= time.monotonic() - began < 5


def test_take_wakes_up_for_a_message() -> None:
    """
    Waiting ends with the first message, not with the time.
    """
    mailbox: Mailbox[int] = Mailbox()
    timer = threading.Timer(0.02, mailbox.put, [7])
    began = time.monotonic()
    timer.start()

    assert mailbox.take(30.0) == [7]
    assert time.monotonic() - began < 10
    timer.join()


class Held:
    """
    A taker that stands still until it is let go.
    """

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.got: list[int] = []

    def __call__(self, message: int) -> None:
        self.began.set()
        assert self.go_on.wait(10)
        self.got.append(message)


def test_relay_delivers_in_order_and_ends_with_nothing_left() -> None:
    """
    What was sent before the stop arrives, in a thread of its own.
    """
    got: list[int] = []
    threads = set()

    def deliver(message: int) -> None:
        threads.add(threading.current_thread().name)
        got.append(message)

    carrier = Relay("courier", deliver)
    carrier.start(no_crash)
    for number in range(1000):
        carrier.send(number)
    carrier.request_stop()

    assert carrier.join(Deadline.after(10))
    assert got == list(range(1000))
    assert threads == {"courier"}


def test_relay_never_holds_up_the_sender_and_drops_beyond_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A taker that stands still costs messages, neither time nor memory.
    """
    monkeypatch.setattr(relay, "_MOST", 10)
    held = Held()
    carrier = Relay("courier", held)
    carrier.start(no_crash)
    carrier.send(-1)
    assert held.began.wait(10)

    for number in range(1000):
        carrier.send(number)
    held.go_on.set()
    carrier.request_stop()

    assert carrier.join(Deadline.after(10))
    assert held.got == [-1, *range(10)]


def test_relay_takes_up_again_after_it_was_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Once the taker goes on, so do the messages.
    """
    monkeypatch.setattr(relay, "_MOST", 1)
    got: list[int] = []
    carrier = Relay("courier", got.append)
    carrier.send(1)
    carrier.send(2)
    carrier.start(no_crash)
    wait_until(lambda: got == [1])
    carrier.send(3)
    wait_until(lambda: got == [1, 3])
    carrier.request_stop()

    assert carrier.join(Deadline.after(10))


def test_relay_waits_for_its_taker_only_where_it_is_to() -> None:
    """
    Else it says that it has ended, and lets what is under way go on.
    """
    ends = {}
    for insist in (False, True):
        held = Held()
        carrier = Relay("courier", held, insist=insist)
        carrier.start(no_crash)
        carrier.send(1)
        assert held.began.wait(10)
        carrier.request_stop()
        ends[insist] = carrier.join(Deadline.after(0.05))
        held.go_on.set()
        wait_until(lambda carrier=carrier: not carrier.alive)

    assert ends == {False: True, True: False}


def test_held_relay_delivers_what_it_was_sent_once_it_is_released() -> None:
    """
    In order, and what comes later at once.
    """
    got: list[int] = []
    carrier = Relay("courier", got.append, held=True)
    carrier.start(no_crash)
    carrier.send(1)
    carrier.send(2)
    carrier.join(Deadline.after(0.05))
    assert (got, carrier.alive) == ([], True)
    carrier.release()
    wait_until(lambda: got == [1, 2])
    carrier.send(3)
    wait_until(lambda: got == [1, 2, 3])
    carrier.request_stop()

    assert carrier.join(Deadline.after(10))
    assert not carrier.alive


def test_held_relay_delivers_when_it_is_stopped() -> None:
    """
    What it waited for never came, and what was sent is not lost.
    """
    got: list[int] = []
    carrier = Relay("courier", got.append, held=True)
    carrier.start(no_crash)
    carrier.send(1)
    carrier.request_stop()

    assert carrier.join(Deadline.after(10))
    assert got == [1]


def test_crash_of_the_taker_is_a_crash_of_the_relay() -> None:
    """
    It does not end in silence.
    """
    crashes: list[tuple[str, BaseException]] = []

    def deliver(message: int) -> Any:
        raise RuntimeError("no")

    carrier = Relay("courier", deliver)
    on_crash: Callable[[str, BaseException], None] = lambda name, error: crashes.append((name, error))  # noqa: E731
    carrier.start(on_crash)
    carrier.send(1)

    assert carrier.join(Deadline.after(10))
    assert [(name, str(error)) for name, error in crashes] == [("courier", "no")]
