# ruff: noqa: INP001 - beside the script that uses it
"""
The page about the status files and error logs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from page import block, head, paragraphs, table

from conductor_loop.ledger import naming, status
from conductor_loop.ledger.entry import Ending
from conductor_loop.model import Author, Kind, Outcome

ID = "9f3c2a71d0-7"
MOMENT = 1_795_460_295_000_000
AUTHOR = Author(processed_by="conductor-loop 0.1.0 (agent)", mode="direct", porch_path="/usr/local/bin/porch")
PROCESSED = Ending(
    outcome=Outcome.PROCESSED,
    kind=None,
    message="Processed in 250ms",
    finished_at=MOMENT,
    attempts=1,
    exit_code=0,
    duration=0.25,
    sha256="5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
    target="intent-a.json",
)
FAILED = Ending(
    outcome=Outcome.FAILED,
    kind=Kind.COMMAND_FAILED,
    message="porch exited with code 3: no such cluster: edge-7",
    finished_at=MOMENT,
    attempts=2,
    exit_code=3,
    duration=0.119,
    sha256=PROCESSED.sha256,
    output=b"rendering intent-a.json\nno such cluster: edge-7\n",
    target="intent-a.json",
)
REJECTED = Ending(
    outcome=Outcome.REJECTED,
    kind=Kind.TOO_LARGE,
    message="9000000 bytes or more; at most 5242880 are accepted",
    finished_at=MOMENT,
    attempts=0,
    target="intent-a.json",
)


def status_file() -> Iterator[str]:
    """
    Yield the lines of the page.
    """
    yield from head("Status file and error log", INTRODUCTION)
    yield from ("## Status file", "", *paragraphs(STATUS_FILE))
    yield from block("json", _text(status.document("intent-a.json", ID, PROCESSED, AUTHOR)))
    yield from table("key | type | meaning", _keys())
    yield from ("## Error log", "", *paragraphs(ERROR_LOG))
    yield from block("text", _text(status.error_log("intent-a.json", ID, FAILED)))
    yield from table("line | meaning", ((f"`{line}`", text) for line, text in LINES.items()))
    yield from ("## Names", "", *paragraphs(NAMES))
    yield from table("what | name", _names())


def _text(data: bytes) -> str:
    return data.decode()


def _keys() -> Iterator[tuple[str, str, str]]:
    found = [
        json.loads(status.document("intent-a.json", ID, ending, AUTHOR))
        for ending in (PROCESSED, FAILED, REJECTED)
    ]
    for key in found[0]:
        types = {_TYPES[type(document[key])] for document in found}
        yield f"`{key}`", " or ".join(sorted(types, key=lambda name: name == "null")), KEYS[key]


_TYPES = {str: "string", int: "integer", float: "number", type(None): "null"}


def _names() -> Iterator[tuple[str, str]]:
    name, long = "intent-a.json", "intent-" + 40 * "a-long-name-" + ".json"
    yield "status file", f"`{naming.status_name(name, ID, MOMENT)}`"
    yield "the same, taken by the status file of another file", f"`{naming.status_name(name, ID, MOMENT, 2)}`"
    yield "the same, of a name over 220 bytes", f"`{_shortened(naming.status_name(long, ID, MOMENT))}`"
    yield "the file, its name taken in `processed/` or `failed/`", f"`{naming.with_id(name, ID)}`"
    yield "error log", f"`failed/{naming.error_log_name(name, ID)}`"


def _shortened(name: str) -> str:
    return f"{name[:18]}…{name[name.index(ID) - 7 :]}"


INTRODUCTION = """
    For every file that ends, a status file says in JSON what became of it. A file in `failed/`, failed or rejected, has
    an error log beside it as well, for a person to read. Both are written after the outcome is in the database and
    before the file is moved, so whoever finds a file in `processed/` or `failed/` finds them too.

    Both appear whole, under their final name; a name that begins with `.conductor-` is one that is being written. They
    belong to the agent's user, with mode 0640 less its umask. Nothing is ever written over a file of somebody else.
    A file that vanished before it could be taken has neither.
"""

STATUS_FILE = """
    In `status_dir`, one for each file; a file that is run again with `conductor-loop files retry` gets another one.
    Keys may be added, none is renamed or removed.
"""

KEYS = {
    "intent_file": "Name of the file as it was dropped; bytes that are no text are escaped as `\\xff`.",
    "status": "`success` if it was processed, else `failed`.",
    "message": "What happened, in words: for a processed file how long it took, or what the Python function returned.",
    "timestamp": "When the file ended, in UTC.",
    "processed_by": "Program, version and, in brackets, the agent's name.",
    "mode": "`direct` or `structured` as configured; `python` for a Python function.",
    "porch_path": "The program of `command`, whatever it is; for a Python function `module:function`.",
    "id": "Id of the file, which no other file ever gets; a name that is dropped again gets a new one.",
    "outcome": "`processed`, `failed` or `rejected`.",
    "kind": "Why it was not processed: a slug of the [list of kinds](metrics.md#kinds); `null` if it was.",
    "attempts": "How many runs counted; 0 if it never ran.",
    "exit_code": "Of the last run; `null` without a run, and when it was ended by a signal.",
    "duration_seconds": "Of the last run; `null` without one.",
    "sha256": "Of the content that was checked and run; `null` if it was not read.",
    "filed_as": "Name that it has in `processed/` or `failed/`; another one than `intent_file` if that was taken.",
}

ERROR_LOG = """
    In `failed_dir`, beside the file. When the file is run again with `conductor-loop files retry`, its error log
    is removed.
"""

LINES = {
    "File": "Name of the file as it was dropped.",
    "Id": "Id of the file.",
    "Failed at": "When the file ended, in UTC.",
    "Kind": "Why, as a slug of the [list of kinds](metrics.md#kinds).",
    "Error": "Why, in words.",
    "Exit code": "Of the last run; `-` without a run, and when it was ended by a signal.",
    "Attempts": "How many runs counted; 0 if it never ran.",
    "Output": "What the last run wrote to stdout and stderr, byte for byte: of more than `output_limit` the head and the "
    "tail. `(none)` if there is nothing.",
}

NAMES = """
    A name that is taken is not used: the file's id comes into it, and `filed_as` says so. If
    somebody takes the name at the last moment, the status file is replaced by one that says the new name. The examples
    are for `intent-a.json` with the id of above, filed at that moment.
"""
