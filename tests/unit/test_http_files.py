"""
Where a file is now, and what a run has left behind.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import store_rows as rows
from conductor_loop.http.files import Whereabouts, run_document
from conductor_loop.ledger.places import Paths
from conductor_loop.model import Identity
from conductor_loop.store.queries import FileRow, PastAttempt
from conductor_loop.work.capture import HeadTail
from ledgers import paths_below

STORE = "0a1b"
ROW = FileRow(
    number=7,
    name="a.json",
    agent="agent",
    slot=3,
    identity=rows.claim(7).identity,
    found_by="event",
    discovered_at=rows.NOW,
    claimed_at=rows.NOW,
    retry_of=None,
    attempts=0,
    interruptions=0,
    next_attempt_at=None,
    outcome=None,
    kind=None,
    message=None,
    finished_at=None,
    exit_code=None,
    duration_us=None,
    wait_us=None,
    sha256=None,
    target=None,
    status_name=None,
    filed_at=None,
)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = paths_below(tmp_path)
    for path in (made.work / "agent" / "3", made.processed, made.failed, made.status):
        path.mkdir(parents=True)
    return made


def put(path: Path) -> Identity:
    path.write_text("{}")
    return Identity.from_stat(path.stat())


def failed(identity: Identity, **given: Any) -> FileRow:
    values: dict[str, Any] = {
        "outcome": "failed",
        "kind": "timeout",
        "target": "a.json",
        "filed_at": rows.NOW,
    }
    return replace(ROW, identity=identity, **(values | given))


def where(paths: Paths, row: FileRow, retried_as: int | None = None) -> tuple[str | None, ...]:
    """
    Return the path of the file, of its status file and of its error log.
    """
    found = Whereabouts(paths, store_id=STORE).document(row, retried_as=retried_as)
    return found["path"], found["status_path"], found["error_log"]


def write_error_log(paths: Paths, number: int) -> Path:
    log = paths.failed / "a.json.error.log"
    log.write_text(f"File:      a.json\nId:        {STORE}-{number}\nKind:      timeout\n")
    return log


def test_an_open_file_is_in_its_slot(paths: Paths) -> None:
    """
    Or where it was dropped, while its writer may come back to it; or gone.
    """
    slot = paths.work / "agent" / "3" / "a.json"
    row = replace(ROW, identity=put(slot))
    assert where(paths, row) == (str(slot), None, None)

    dropped = paths.handoff / "a.json"
    slot.rename(dropped)
    assert where(paths, row) == (str(dropped), None, None)

    dropped.unlink()
    assert where(paths, row) == (None, None, None)


def test_another_drop_of_the_same_name_is_another_file(paths: Paths) -> None:
    """
    It has another inode.
    """
    row = replace(ROW, identity=put(paths.work / "agent" / "3" / "a.json"))
    (paths.work / "agent" / "3" / "a.json").rename(paths.work / "elsewhere")
    put(paths.handoff / "a.json")

    assert where(paths, row)[0] is None


def test_a_file_whose_outcome_is_durable_is_still_in_its_slot(paths: Paths) -> None:
    """
    Until it is moved to its target.
    """
    slot = paths.work / "agent" / "3" / "a.json"
    row = failed(put(slot), filed_at=None)
    assert where(paths, row)[0] == str(slot)

    slot.rename(paths.failed / "a.json")
    assert where(paths, row)[0] == str(paths.failed / "a.json")


def test_a_processed_file_is_where_it_was_filed(paths: Paths) -> None:
    """
    Until a consumer takes it, or another one is put under its name.
    """
    target = paths.processed / "a-7.json"
    row = failed(put(target), outcome="processed", kind=None, target="a-7.json", status_name="a.status")
    put(paths.status / "a.status")
    assert where(paths, row) == (str(target), str(paths.status / "a.status"), None)

    target.rename(paths.processed / "taken")
    (paths.status / "a.status").unlink()
    assert where(paths, row) == (None, None, None)

    put(target)
    assert where(paths, row)[0] is None


def test_a_failed_file_is_known_by_its_error_log(paths: Paths) -> None:
    """
    Editors put another inode under the same name.
    """
    target = paths.failed / "a.json"
    row = failed(put(target))
    log = write_error_log(paths, 7)
    assert where(paths, row) == (str(target), None, str(log))

    target.rename(paths.failed / "a.json~")
    put(target)
    assert where(paths, row) == (str(target), None, str(log))

    target.unlink()
    assert where(paths, row) == (None, None, str(log))


def test_a_name_that_a_newer_file_has_by_now_is_not_the_older_ones(paths: Paths) -> None:
    """
    Even if it is the same inode: it was retried, and failed again.
    """
    row = failed(put(paths.failed / "a.json"))
    write_error_log(paths, 9)

    assert where(paths, row) == (None, None, None)


def test_a_retried_file_is_no_longer_its_own(paths: Paths) -> None:
    """
    Wherever the newer one has left it.
    """
    row = failed(put(paths.failed / "a.json"))

    assert where(paths, row)[0] == str(paths.failed / "a.json")
    assert where(paths, row, retried_as=9)[0] is None


def test_names_are_shown_as_anybody_can_read_them(paths: Paths) -> None:
    """
    Also those that are no text.
    """
    name = os.fsdecode(b"a\xff.json")
    row = replace(ROW, name=name, identity=put(paths.work / "agent" / "3" / name))

    assert where(paths, row)[0] == f"{paths.work}/agent/3/a\\xff.json"


def test_missing_directories_are_no_error(tmp_path: Path) -> None:
    """
    An operator may have moved them away.
    """
    row = failed(ROW.identity, status_name="a.status")

    assert where(paths_below(tmp_path / "gone"), row) == (None, None, None)


def run_of(output: bytes, limit: int) -> PastAttempt:
    kept = HeadTail(limit)
    kept.feed(output)
    return PastAttempt(
        number=7,
        attempt=1,
        started_at=rows.NOW,
        duration_us=1,
        exit_code=1,
        signal=None,
        kind=None,
        message="",
        output=kept.value(),
        output_bytes=kept.total,
        survivors=0,
    )


@pytest.mark.parametrize(
    ("size", "limit", "cut"),
    [
        (100_000, 65_536, True),
        (100_000, 100_000, False),
        (65_537, 65_536, True),
        (0, 65_536, False),
        (1, 0, True),
    ],
)
def test_output_that_was_cut_is_told_from_whole_one(size: int, limit: int, cut: bool) -> None:
    """
    Whatever bytes there are in it: shown, those that are no text take four characters each.
    """
    run = run_document(run_of(random.Random(1).randbytes(size), limit))

    assert (run["output_bytes"], run["output_cut"]) == (size, cut)
