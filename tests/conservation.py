"""
The law that holds whatever happened: every file dropped has one terminal row, one place and one status file.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from conductor_loop import clock
from conductor_loop.ledger import naming, recovery, status
from conductor_loop.ledger.places import Paths, Places
from conductor_loop.ledger.reconcile import files_in_slots
from conductor_loop.ledger.survey import survey
from conductor_loop.model import Outcome, display_name
from conductor_loop.store import queries
from conductor_loop.store.database import Store

Row = dict[str, Any]


def assert_conserved(
    root: Path,
    dropped: Iterable[str] | None = None,
    *,
    foreign: Collection[str] = (),
    gone: Collection[int] = (),
    forgotten: Collection[str] = (),
    left_out: int = 0,
    pattern: str = "intent-*.json",
) -> list[Row]:
    """
    Check everything that must be true once the agent below `root` has worked off all files and ended.

    Args:
        dropped: the name of every file that was ever dropped, a name as often as it was; None: not known.
        foreign: what somebody else put into processed/, failed/ and status/, as `failed/x`.
        gone: numbers of files that somebody took away.
        forgotten: ids of files whose rows were lost with a store.
        left_out: how many numbers were never given out, since a copy of the store was put back.

    Returns:
        The rows, by number.
    """
    store_id = _query(root, "SELECT store_id FROM meta")[0]["store_id"]
    rows = rows_of(root)
    handoff = root / "handoff"
    filed = [row for row in rows if row["outcome"] != Outcome.VANISHED]
    again = {row["retry_of"] for row in filed}  # whose files have gone on under other numbers
    # Of those whose retry found nothing somebody took the file.
    gone = {
        *gone,
        *(row["retry_of"] for row in rows if row["outcome"] == Outcome.VANISHED and row["retry_of"]),
    }

    _assert_terminal(rows)
    if dropped is not None:
        assert Counter(row["name"] for row in filed if row["retry_of"] is None) == Counter(dropped)
    assert list(handoff.glob(pattern)) == []
    placed = [row for row in filed if row["number"] not in again]
    _assert_placed(handoff, store_id, placed, foreign=foreign, gone=gone, forgotten=forgotten)
    told = _told(handoff / "status", store_id, filed, foreign=foreign, gone=gone, forgotten=forgotten)
    # A file that is gone may have been taken with its status file, for all that recovery knows.
    assert told | Counter(f"{store_id}-{number}" for number in gone) == Counter(
        [*(f"{store_id}-{row['number']}" for row in filed), *forgotten]
    ) | Counter(f"{store_id}-{number}" for number in gone)
    _assert_counted(root, rows, left_out)
    _assert_nothing_to_recover(root)
    return rows


def rows_of(root: Path) -> list[Row]:
    """
    Return all rows of files, by number, with their names as the file system has them.
    """
    rows = _query(root, "SELECT * FROM files ORDER BY number")
    for row in rows:
        for name in ("name", "target", "status_name"):
            raw = row[f"raw_{name}"]
            row[name] = row[name] if raw is None else os.fsdecode(raw)
    return rows


def _assert_terminal(rows: Iterable[Row]) -> None:
    for row in rows:
        assert row["outcome"] is not None, row
        assert row["filed_at"] is not None, row
        assert row["next_attempt_at"] is None, row


def _assert_placed(
    handoff: Path,
    store_id: str,
    filed: Iterable[Row],
    *,
    foreign: Collection[str],
    gone: Collection[int],
    forgotten: Collection[str],
) -> None:
    """
    Every file is where its row says, or the row of its last retry, and nothing else is there.
    """
    wanted = Counter(name for name in foreign if not name.startswith("status/"))
    for row in filed:
        folder = _folder(row)
        if row["number"] not in gone:
            wanted[f"{folder}/{row['target']}"] += 1
        if folder == "failed":
            file_id = f"{store_id}-{row['number']}"
            log = handoff / "failed" / naming.error_log_name(row["target"], file_id)
            ours = log.exists() and f"Id:        {file_id}\n" in log.read_text()
            if row["number"] in gone and not ours:
                continue  # for all that recovery knows it was taken with its file
            wanted[f"failed/{log.name}"] += 1
            assert ours
    found = Counter(
        f"{folder}/{name}" for folder in ("processed", "failed") for name in _names(handoff / folder)
    )
    if forgotten:  # whose places are not known any more
        assert not wanted - found
    else:
        assert found == wanted


def _told(
    folder: Path,
    store_id: str,
    filed: Iterable[Row],
    *,
    foreign: Collection[str],
    gone: Collection[int],
    forgotten: Collection[str],
) -> Counter[str]:
    """
    Return how many status files there are by id; each parses and agrees with the row.
    """
    by_id = {f"{store_id}-{row['number']}": row for row in filed}
    told: Counter[str] = Counter()
    for name in _names(folder):
        if f"status/{name}" in foreign:
            continue
        text = json.loads((folder / name).read_bytes())
        told[text["id"]] += 1
        if text["id"] not in forgotten:
            row = by_id[text["id"]]
            # Of a file that is gone, recovery does not find out that its status file had to take another name.
            assert name == row["status_name"] or row["number"] in gone
            _assert_agrees(text, row)
    return told


def _assert_agrees(text: Mapping[str, Any], row: Row) -> None:
    succeeded = row["outcome"] == Outcome.PROCESSED
    assert text["intent_file"] == display_name(row["name"])
    assert text["status"] == ("success" if succeeded else "failed")
    assert text["filed_as"] == display_name(row["target"])
    assert text["timestamp"] == clock.rfc3339(row["finished_at"])
    for key in ("outcome", "kind", "message", "attempts", "exit_code", "sha256"):
        assert text[key] == row[key], key


def _assert_counted(root: Path, rows: list[Row], left_out: int) -> None:
    """
    The counters say what the rows say, and no number was given out twice or skipped.
    """
    totals = _query(root, "SELECT metric, label, value FROM totals")
    values = {(one["metric"], one["label"]): one["value"] for one in totals if one["value"]}
    attempts = _query(root, "SELECT file_number, attempt FROM attempts ORDER BY file_number, attempt")
    ran_last = [row for row in rows if row["duration_us"] is not None]

    outcomes = Counter(f"{row['outcome']}/{row['kind'] or ''}" for row in rows)
    assert {label: n for (metric, label), n in values.items() if metric == "outcomes"} == outcomes
    found_by = Counter(row["found_by"] for row in rows)
    assert {label: n for (metric, label), n in values.items() if metric == "discovered"} == found_by
    last = max((row["number"] for row in rows), default=0)
    assert values.get(("claimed", ""), 0) == len(rows) + left_out == last
    told = [row for row in rows if row["status_name"] is not None]
    assert values.get(("status_files", ""), 0) == len(told)
    assert values.get(("retries", ""), 0) == len(attempts) - len(ran_last)
    assert values.get(("duration_us", ""), 0) == sum(row["duration_us"] for row in ran_last)
    assert [(one["file_number"], one["attempt"]) for one in attempts] == [
        (row["number"], attempt) for row in rows for attempt in range(1, row["attempts"] + 1)
    ]


def _assert_nothing_to_recover(root: Path) -> None:
    handoff = root / "handoff"
    paths = Paths(
        handoff=handoff,
        work=handoff / "work",
        processed=handoff / "processed",
        failed=handoff / "failed",
        status=handoff / "status",
    )
    store = Store.open(root / "state", now=clock.now_us())
    places = Places(paths, agent="agent", owner="a test")
    with closing(store), closing(places), store.reader() as connection:
        assert list(files_in_slots(places.work_fd)) == []
        assert recovery.plan(survey(places, queries.open_files(connection), {}, store.store_id)) == []


def _folder(row: Row) -> str:
    return "processed" if row["outcome"] == Outcome.PROCESSED else "failed"


def _names(folder: Path) -> list[str]:
    # What an interrupted write leaves over, and for ever if its file was taken away meanwhile.
    return [name for name in os.listdir(folder) if not name.startswith(status.TEMPORARY)]


def _query(root: Path, query: str) -> list[Row]:
    with closing(sqlite3.connect(f"file:{root / 'state' / 'history.db'}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]
