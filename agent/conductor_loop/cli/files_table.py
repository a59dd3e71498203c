"""
Files as lines. Where a line has no room for everything, columns are left out or shortened until name and message fit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from conductor_loop import clock
from conductor_loop.cli.terminal import cut, plain, table, width_of

_LEAST_MESSAGE = 16  #: columns of the terminal; for fewer of them something else is left out
_GAP = "  "

#: What is left out and what is shortened, step by step. The number of an id alone is enough for every command.
_STEPS: tuple[tuple[set[str], set[str]], ...] = (
    (set(), set()),
    ({"SECONDS"}, set()),
    ({"SECONDS", "ATTEMPTS"}, set()),
    ({"SECONDS", "ATTEMPTS"}, {"FINISHED", "CLAIMED"}),
    ({"SECONDS", "ATTEMPTS"}, {"FINISHED", "CLAIMED", "ID", "RETRIED"}),
)

File = dict[str, Any]
Row = dict[str, str]  #: cells by the heads of their columns


def file_lines(files: Sequence[File], *, width: int | None) -> list[str]:
    """
    Return the heads and a line for each file.

    Args:
        files: one at least.
        width: of the terminal; None for as wide as it gets.
    """
    rows = _rows(files)
    if width is not None:
        rows = _fitted(rows, width, today=_now()[:10])
    return table(list(rows[0]), [list(row.values()) for row in rows], width=width).splitlines()


def state_words(file: File) -> str:
    """
    Return since or until when a file that is open is in its state; nothing where that is not known.
    """
    if file["running_since"]:
        return f"since {file['running_since']}"
    due = file["next_attempt_at"]
    # One that is due and still waits is held back by a drain, or by the want of an agent.
    return f"until {due}" if file["state"] == "waiting" and due > _now() else ""


def _now() -> str:
    return clock.rfc3339(clock.now_us())


def _rows(files: Sequence[File]) -> list[Row]:
    ended, retried = (any(file[key] for file in files) for key in ("outcome", "retried_as"))
    return [_row(file, ended=ended, retried=retried) for file in files]


def _row(file: File, *, ended: bool, retried: bool) -> Row:
    seconds, failure = file["duration_seconds"], file["last_failure"] or {}
    cells = {
        "ID": file["id"],
        "NAME": file["name"],
        "OUTCOME": file["outcome"] or file["state"],
        "KIND": file["kind"] or failure.get("kind") or "-",
        **({"FINISHED": file["finished_at"] or "-"} if ended else {"CLAIMED": file["claimed_at"]}),
        "ATTEMPTS": str(file["attempts"]),
        "SECONDS": "-" if seconds is None else f"{seconds:.3f}",
        **({"RETRIED": f"-> {file['retried_as']}" if file["retried_as"] else ""} if retried else {}),
        "MESSAGE": file["message"] or _progress(file, failure),
    }
    return {head: plain(cell) for head, cell in cells.items()}


def _progress(file: File, failure: dict[str, str]) -> str:
    between = "; the attempt before: " if file["state"] == "running" else ": "
    return between.join(words for words in (state_words(file), failure.get("message")) if words)


def _fitted(rows: list[Row], width: int, *, today: str) -> list[Row]:
    """
    Return the rows with as few steps taken as make them fit; after the last one names are cut and messages dropped.
    """
    shown = rows
    for left_out, shortened in _STEPS:
        shown = [_reduced(row, left_out, shortened, today) for row in rows]
        if _room(shown, width) >= _wide(shown, "NAME") + min(_wide(shown, "MESSAGE"), _LEAST_MESSAGE):
            return shown
    room = _room(shown, width)
    if room - _wide(shown, "NAME") < _LEAST_MESSAGE // 2:
        shown = [{head: cell for head, cell in row.items() if head != "MESSAGE"} for row in shown]
        room += len(_GAP)
    return [row | {"NAME": cut(row["NAME"], max(room, len("NAME")))} for row in shown]


def _reduced(row: Row, left_out: set[str], shortened: set[str], today: str) -> Row:
    return {
        head: _SHORT[head](cell, today) if head in shortened else cell
        for head, cell in row.items()
        if head not in left_out
    }


def _short_moment(moment: str, today: str) -> str:
    day, _, time = moment.partition("T")
    return time[:8] if day == today else day[5:] or moment


def _short_id(words: str, today: str) -> str:
    return re.sub(r"\w+-(?=\d)", "", words)


_SHORT = {"FINISHED": _short_moment, "CLAIMED": _short_moment, "ID": _short_id, "RETRIED": _short_id}


def _room(rows: list[Row], width: int) -> int:
    """
    Return what the other columns leave for name and message.
    """
    others = sum(_wide(rows, head) for head in rows[0] if head not in ("NAME", "MESSAGE"))
    return width - others - len(_GAP) * (len(rows[0]) - 1)


def _wide(rows: list[Row], head: str) -> int:
    return max(len(head), *(width_of(row[head]) for row in rows))
