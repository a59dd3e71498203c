"""
Whose turn it is, driven by hand.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor_loop.intake.hints import Hint
from conductor_loop.intake.names import NameFilter
from conductor_loop.intake.readiness import Readiness
from conductor_loop.intake.scan import Scan
from conductor_loop.intake.settle import Settler
from intake_ports import OpenDirectory, Taker


class Bench:
    """
    A readiness over a real directory.
    """

    def __init__(self, path: Path, taker: Taker, most: int) -> None:
        self.handoff = OpenDirectory(path)
        self.path = path
        self.taker = taker
        self.full = 0
        self.readiness = Readiness(
            dir_fd=self.handoff.fd,
            admission=taker,
            settler=Settler(settle=0.0, observe=False, writer_has=lambda _: False),
            full=self.count_full,
            most=most,
        )

    def count_full(self) -> None:
        self.full += 1

    def scan(self, moment_us: int = 1, most: int = 100) -> None:
        scan = Scan(self.handoff.fd, NameFilter("*").accepts, most=most)
        self.readiness.scan_begins()
        while scan.step():
            pass
        scan.close()
        self.readiness.scan_ended(scan.found, moment_us)

    def offer(self) -> list[str]:
        before = len(self.taker.arrivals)
        self.readiness.offer(time.monotonic())
        return self.taker.names[before:]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """
    Files stay in hand; at most three candidates.
    """
    one = Bench(tmp_path, Taker(), most=3)
    yield one
    one.handoff.close()


def touch(path: Path, *names: str) -> None:
    """
    Make files with rising ctimes.
    """
    for name in names:
        (path / name).touch()
        mine = (path / name).stat().st_ctime_ns
        while time.time_ns() - mine < 10_000_000:
            os.stat(path)


def test_hints_beyond_the_bound_are_left_to_a_scan(bench: Bench) -> None:
    """
    The scan is wanted as soon as there is room for candidates.
    """
    touch(bench.path, "a", "b", "c", "d", "e")
    for name in "abcde":
        bench.readiness.hint(name, Hint.MOVED, 0.0)
    assert not bench.readiness.wants_scan
    assert bench.offer() == ["a", "b", "c"]
    assert bench.readiness.wants_scan
    for name in "abc":
        (bench.path / name).unlink()
    bench.scan()

    assert bench.offer() == ["d", "e"]
    assert not bench.readiness.wants_scan


def test_truncated_backlog_wants_a_scan_when_it_is_nearly_used_up(bench: Bench) -> None:
    """
    The directory is the queue; we only know its head.
    """
    touch(bench.path, "a", "b", "c")
    bench.scan(most=2)
    assert bench.offer() == ["a", "b"]

    assert bench.readiness.wants_scan


def test_older_backlog_goes_before_newer_hint(bench: Bench) -> None:
    """
    First come first served, however a file was noticed.
    """
    touch(bench.path, "old", "new")
    bench.readiness.hint("new", Hint.CLOSED, 0.0)
    bench.scan()

    assert bench.offer() == ["old", "new"]


def test_name_known_twice_is_offered_once(bench: Bench) -> None:
    """
    A hint after the scan, in one batch with the backlog.
    """
    touch(bench.path, "a", "b")
    bench.scan()
    bench.readiness.hint("a", Hint.MOVED, 0.0)

    assert sorted(bench.offer()) == ["a", "b"]


def test_file_taken_since_the_scan_is_forgotten(bench: Bench) -> None:
    """
    A backlog is old by the time it is worked off.
    """
    touch(bench.path, "a", "b")
    bench.scan()
    (bench.path / "a").unlink()
    (bench.path / "b").unlink()
    (bench.path / "b").symlink_to("a")

    assert bench.offer() == []
    assert bench.readiness.empty


def test_discovery_survives_the_next_scan_unless_it_is_another_file(bench: Bench) -> None:
    """
    The waiting time of a file in a long backlog is the true one.
    """
    touch(bench.path, "a", "b")
    bench.scan(moment_us=1)
    touch(bench.path, ".x")
    (bench.path / ".x").rename(bench.path / "b")
    bench.scan(moment_us=2)
    bench.offer()

    assert {arrival.name: arrival.discovered_at for arrival in bench.taker.arrivals} == {"a": 1, "b": 2}


def test_claimed_between_the_two_looks_is_not_offered_again(bench: Bench) -> None:
    """
    The look comes after the question whether the name is in hand; the other order would find it free and there.
    """
    touch(bench.path, "a")

    class ClaimsWhenAsked(Taker):
        def in_hand(self, name: str) -> bool:
            if (bench.path / name).exists():
                (bench.path / name).unlink()
            return False

    bench.readiness._admission = bench.taker = ClaimsWhenAsked()
    bench.readiness.hint("a", Hint.MOVED, 0.0)

    assert bench.offer() == []


def test_full_is_told_once_until_everything_was_offered(bench: Bench) -> None:
    """
    And never for a pause.
    """
    touch(bench.path, "a", "b")
    bench.taker.allow(0)
    bench.taker.stopped = True
    bench.scan()
    assert bench.offer() == []
    assert bench.full == 0
    bench.taker.stopped = False
    bench.offer()
    bench.taker.allow(1)
    bench.offer()
    assert bench.full == 1
    bench.taker.allow(5)
    assert bench.offer() == ["b"]
    bench.taker.allow(0)
    touch(bench.path, "c")
    bench.readiness.hint("c", Hint.MOVED, 0.0)
    bench.offer()

    assert bench.full == 2


def test_oldest_is_told_of_backlog_and_candidates(bench: Bench) -> None:
    """
    The moment of its last change.
    """
    assert bench.readiness.oldest_at() is None
    touch(bench.path, "a", "b")
    bench.readiness.hint("b", Hint.CLOSED, 0.0)
    assert bench.readiness.oldest_at() == (bench.path / "b").stat().st_ctime_ns // 1000
    bench.scan()

    assert bench.readiness.oldest_at() == (bench.path / "a").stat().st_ctime_ns // 1000


def test_names_that_are_not_ours_any_more_are_forgotten(bench: Bench) -> None:
    """
    Whether they are ripe, wait or stand in the backlog.
    """
    touch(bench.path, "a.json", "a.txt", "b.json", "b.txt")
    bench.scan()
    bench.readiness.hint("c.txt", Hint.MOVED, time.monotonic())
    bench.readiness.reconsider(NameFilter("*.json").accepts, 0.0, time.monotonic())

    assert bench.offer() == ["a.json", "b.json"]
    assert bench.readiness.empty


def test_shorter_settle_time_ends_the_wait_for_the_longer(bench: Bench) -> None:
    """
    And a longer one holds for what is ripe already.
    """
    readiness = bench.readiness
    readiness.reconsider(NameFilter("*").accepts, 3600.0, time.monotonic())
    touch(bench.path, "a.json")
    readiness.hint("a.json", Hint.CLOSED, time.monotonic())
    waits = readiness.next_due() - time.monotonic()
    readiness.reconsider(NameFilter("*").accepts, 0.0, time.monotonic())
    readiness.advance(time.monotonic())
    readiness.reconsider(NameFilter("*").accepts, 3600.0, time.monotonic())
    longer = bench.offer()
    readiness.reconsider(NameFilter("*").accepts, 0.0, time.monotonic())
    readiness.advance(time.monotonic())

    assert 3000 < waits < 3600
    assert longer == []
    assert bench.offer() == ["a.json"]
