"""
The buffer between the watch and intake.
"""

from __future__ import annotations

import threading
import time

from conductor_loop.intake.hints import Hint, Hints


def test_the_latest_hint_of_a_name_counts() -> None:
    """
    A file that was renamed in and written to again is one that was written in place.
    """
    hints = Hints()
    hints.put("x", Hint.MOVED)
    hints.put("y", Hint.CLOSED)
    hints.put("x", Hint.CLOSED)

    assert hints.take() == ({"x": Hint.CLOSED, "y": Hint.CLOSED}, False)
    assert hints.take() == ({}, False)


def test_names_beyond_the_bound_are_left_to_a_scan() -> None:
    """
    Memory is bounded and nothing is lost.
    """
    hints = Hints(most=2)
    for name in "abc":
        hints.put(name, Hint.MOVED)
    hints.put("a", Hint.CLOSED)

    assert hints.take() == ({"a": Hint.CLOSED, "b": Hint.MOVED}, True)
    assert hints.empty


def test_asking_for_a_scan_is_not_forgotten() -> None:
    """
    It stays until somebody takes it.
    """
    hints = Hints()
    hints.ask_scan()

    assert not hints.empty
    assert hints.take() == ({}, True)


def test_put_ends_a_wait_and_an_earlier_one_makes_it_return_at_once() -> None:
    """
    No wake-up is lost between two waits.
    """
    hints = Hints()
    hints.put("x", Hint.MOVED)
    hints.wait(60)
    hints.take()
    putter = threading.Timer(0.05, hints.put, ("y", Hint.MOVED))
    putter.start()
    begun = time.monotonic()
    hints.wait(60)
    putter.join()

    assert time.monotonic() - begun < 30
    assert hints.take()[0] == {"y": Hint.MOVED}
