"""
The ledger takes other settings over while it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conductor_loop.ledger.reconcile import Reconciler
from conductor_loop.model import Again, Author, Kind, PauseReason
from ledgers import Bench, running
from waiting import wait_until

NOW = Author(processed_by="conductor-loop", mode="structured", porch_path="render")
THEN = Author(processed_by="conductor-loop", mode="direct", porch_path="porch")


def configure(bench: Bench, **changed: Any) -> None:
    settings = {"author": THEN, "look_ahead": 64, "max_waiting": 1000, "scan_interval": 0.1, **changed}
    bench.ledger.configure(**settings)


def test_status_file_names_who_made_the_attempt(tmp_path: Path) -> None:
    """
    A command that began under the old configuration is not said to be the new one.
    """
    with running(tmp_path) as bench:
        configure(bench, author=NOW)
        before = bench.status(bench.process("intent-a.json", author=THEN))
        after = bench.status(bench.process("intent-b.json", author=NOW))
        nobody = bench.status(bench.process("intent-c.json"))

    assert (before["mode"], before["porch_path"]) == ("direct", "porch")
    assert (after["mode"], after["porch_path"]) == ("structured", "render")
    assert (nobody["mode"], nobody["porch_path"]) == ("structured", "render")


def test_look_ahead_is_that_of_now(tmp_path: Path) -> None:
    """
    Room for more at once, or for fewer when there is again.
    """
    with running(tmp_path, look_ahead=3) as bench:
        admission = bench.ledger.admission
        before = admission.room()
        configure(bench, look_ahead=9)
        wait_until(lambda: admission.room() == 9)
        configure(bench, look_ahead=1)
        wait_until(lambda: admission.room() == 1)

    assert before == 3


def test_more_may_wait_for_another_attempt_at_once(tmp_path: Path) -> None:
    """
    The pause ends without any file's having gone on; and it stands again when fewer may.
    """
    with running(tmp_path, max_waiting=1) as bench:
        for name in ("intent-a.json", "intent-b.json"):
            bench.offer(name)
            bench.report(bench.take(), Again(Kind.TIMEOUT, "late", 3600.0))
        wait_until(lambda: PauseReason.RETRIES in bench.ledger.pauses)
        configure(bench, max_waiting=10)
        wait_until(lambda: not bench.ledger.pauses.reasons)
        configure(bench, max_waiting=1)
        wait_until(lambda: PauseReason.RETRIES in bench.ledger.pauses)


def test_there_is_one_check_of_the_law_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    However often the interval is changed, and without waiting for the end of the one that was long.
    """
    checks: list[None] = []
    monkeypatch.setattr(Reconciler, "check", lambda self, places: checks.append(None))
    with running(tmp_path, scan_interval=3600.0) as bench:
        wait_until(lambda: checks)
        for _ in range(20):
            configure(bench, scan_interval=0.02)
        wait_until(lambda: len(checks) >= 4)
        configure(bench, scan_interval=3600.0)
        bench.process("intent-a.json")
        count = len(checks)
        for turn in range(20):
            bench.process(f"intent-{turn}.json")

    assert len(checks) == count
