"""
Rows for tests of the store, with a value for everything that a test does not care about.
"""

from __future__ import annotations

from typing import Any

from conductor_loop.model import Cause, FoundBy, Identity, Kind, Outcome
from conductor_loop.store.changes import (
    AttemptRow,
    Changes,
    ClaimRow,
    EndRow,
    FiledRow,
    InterruptionRow,
    WaitRow,
)

NOW = 1_795_000_000_000_000  #: 2026-11-18


def claim(number: int = 1, **given: Any) -> ClaimRow:
    values: dict[str, Any] = {
        "name": f"intent-{number}.json",
        "agent": "agent",
        "slot": number,
        "identity": Identity(66304, 1000 + number, 120, 1_795_000_000_000_000_001, 1_795_000_000_000_000_002),
        "found_by": FoundBy.EVENT,
        "discovered_at": NOW,
        "claimed_at": NOW + 1,
    }
    return ClaimRow(number=number, **values | given)


def wait(number: int = 1, **given: Any) -> WaitRow:
    values: dict[str, Any] = {"attempts": 1, "interruptions": 0, "next_attempt_at": NOW + 5_000_000}
    return WaitRow(number=number, **values | given)


def attempt(number: int = 1, **given: Any) -> AttemptRow:
    values: dict[str, Any] = {
        "attempt": 1,
        "started_at": NOW + 2,
        "duration_us": 250_000,
        "exit_code": 1,
        "kind": Kind.COMMAND_FAILED,
        "message": "exit code 1",
        "output": b"no \xff good",
        "output_bytes": 300_000_000,
    }
    return AttemptRow(number=number, **values | given)


def interruption(number: int = 1, **given: Any) -> InterruptionRow:
    values: dict[str, Any] = {"started_at": NOW + 1, "found_at": NOW + 2_000_000, "cause": Cause.DEATH}
    return InterruptionRow(number=number, **values | given)


def end(number: int = 1, **given: Any) -> EndRow:
    values: dict[str, Any] = {
        "outcome": Outcome.PROCESSED,
        "kind": None,
        "message": "",
        "finished_at": NOW + 3,
        "attempts": 1,
        "size": 120,
        "exit_code": 0,
        "duration_us": 250_000,
        "wait_us": 4_000,
        "sha256": "ab" * 32,
        "target": f"intent-{number}.json",
        "status_name": f"intent-{number}.json-20261118-000000.status",
    }
    return EndRow(number=number, **values | given)


def filed(number: int = 1) -> FiledRow:
    return FiledRow(number=number, filed_at=NOW + 4)


def whole_life(*numbers: int) -> Changes:
    """
    Return what is written of files that are claimed, run, ended and filed.
    """
    return Changes(
        claims=[claim(number) for number in numbers],
        attempts=[attempt(number) for number in numbers],
        ends=[end(number) for number in numbers],
        filed=[filed(number) for number in numbers],
        totals={("files_processed", ""): len(numbers)},
    )
