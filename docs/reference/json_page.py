# ruff: noqa: INP001 - beside the script that uses it
"""
The part of a page that says what `-o json` prints.
"""

from __future__ import annotations

from collections.abc import Iterator

from page import paragraphs, table


def json_documents() -> Iterator[str]:
    """
    Yield the lines of the section.
    """
    yield from ("## Answers as JSON", "", *paragraphs(INTRODUCTION))
    for command, keys in DOCUMENTS.items():
        yield from (f"### Answer of {command}", "")
        yield from table("key | meaning", ((f"`{key}`", meaning) for key, meaning in keys.items()))
    for title, keys in (("File", FILE), ("File in full", WHOLE_FILE), ("Run", RUN)):
        yield from (f"### {title}", "")
        yield from table("key | meaning", ((f"`{key}`", meaning) for key, meaning in keys.items()))


INTRODUCTION = """
    `-o json` prints one document on stdout, whose first key is `"version": 1`. Within a version keys are only added:
    none is renamed, removed or given another meaning. Errors are words on stderr, and the exit code is the same as
    without `-o json`.

    `--field NAME` prints one value alone and needs neither `-o json` nor another program: a string as it is,
    everything else as JSON. Keys are joined with dots and lists are counted from 0:
    `conductor-loop files list --failed --field files.0.id`, `conductor-loop status --field metrics.workers.queue_depth`.
    A name that is not there exits 2 and says what is.

    Moments are RFC 3339 in UTC, durations seconds, sizes bytes. What there is not is `null`.
"""

_DRY = "`true` if it was only tried."
_PAUSES = "Reason -> `since` and `message`, of all pauses that stand"

DOCUMENTS: dict[str, dict[str, str]] = {
    "status": {
        "url": "Where the agent was asked: `unix:PATH` or a URL.",
        "health": "The document of `GET /health`, see [health.md](health.md).",
        "metrics": "The document of `GET /metrics`, see [metrics.md](metrics.md).",
    },
    "health": {
        "url": "Where the agent was asked: `unix:PATH` or a URL.",
        "verdict": '`"healthy"`, `"degraded"`, `"unhealthy"` or `"unreachable"`.',
        "exit_code": "As that of the command.",
        "reason": "What is wrong, where that is not in `health`.",
        "health": "The document of `GET /health`; `null` if nobody answers.",
    },
    "top": {
        "health": "The document of `GET /health`, see [health.md](health.md).",
        "metrics": "The document of `GET /metrics`, see [metrics.md](metrics.md).",
        "files": "The last ten files, newest first: a list of [files](#file).",
    },
    "files list": {"files": "Newest first: a list of [files](#file)."},
    "files show": {"...": "The keys of a [file](#file) and of a [file in full](#file-in-full)."},
    "files retry": {
        "dry_run": _DRY,
        "retried": "List: `id` of the new file (`null` if only tried), `retry_of`, `name`, `path` of the file that it "
        "took, and with `--wait` its `outcome`.",
        "refused": "List: `id` as it was given, `error`, `kind` and `exit_code`.",
        "left": "How many were not asked for any more, after Ctrl-C or the end of the agent.",
        "unknown": "The one that was asked for and not answered; whether it was retried, `files show` tells.",
    },
    "files explain": {
        "path": "The file that was looked at.",
        "name": "The name that it has, or would have.",
        "entry": 'What it is, such as `"regular file"`.',
        "in_handoff_dir": "Whether it lies there.",
        "fate": "What would become of it.",
        "ignored": "Why it would not be taken; a list of words.",
        "settling": "What it still waits for.",
        "rejection": "As what it would be rejected.",
        "problems": "Everything that is wrong with its content.",
        "command": "The command line, a list.",
        "environment": "Variables that are added for the command.",
        "command_problem": "Why the command could not be started.",
        "timeout_seconds": "Time that one attempt may take.",
        "retry": "When it would be tried again.",
    },
    "pause": {"dry_run": _DRY, "pauses": f"{_PAUSES}; when only tried without an agent, `null`."},
    "resume": {
        "dry_run": _DRY,
        "lifted": "The reasons that were ended.",
        "pauses": f"{_PAUSES}; when only tried without an agent, `null`.",
    },
    "drain": {
        "dry_run": _DRY,
        "drained": "`true` if nothing runs and nothing is ready to run.",
        "running": "Files that are being worked on.",
        "queued": "Files that are taken and ready to run.",
        "waiting": "Files that wait for another attempt; when only tried, `null`.",
        "pauses": f"{_PAUSES}; when only tried without an agent, `null`.",
        "stopped": "`true` if the agent was stopped and has ended.",
    },
    "reload": {
        "dry_run": _DRY,
        "changed": "Key, such as `agent.pattern` -> `from` and `to`.",
        "needs_restart": "The same, of keys that keep their old value until the agent is started again.",
        "warnings": "List of words.",
        "config_hash": "Of the configuration that is used from now on.",
    },
    "config show": {
        "file": "The configuration file; `null` without one.",
        "config_hash": "12 digits that change with any value; `health` has those of the running agent.",
        "config": "Section -> key -> value, as in the file; secrets are `(secret)`.",
        "origins": 'Section and key with a dot -> `"default"`, `"file PATH"`, `"environment NAME"` or `"flag --NAME"`.',
    },
    "doctor": {
        "passed": "`true` if no check failed.",
        "running": "Whether an agent runs.",
        "user": "Who looked.",
        "checks": "List: `name`, `result`, `message` and `hint`.",
        "recovery": "What the next start would do.",
    },
    "db current": {
        "path": "The database.",
        "store_id": "What the ids of its files begin with.",
        "revision": "The migration that it is at.",
        "head": "The newest migration of this version.",
        "upgrade_needed": "Whether they differ.",
        "schema_version": "Number of the schema.",
        "min_compatible_version": "The oldest program that may use it.",
        "sqlite_version": "Of the library.",
    },
    "db upgrade": {
        "from": "The migration before.",
        "to": "The migration now.",
        "backup": "The copy that was kept.",
    },
    "db check": {
        "path": "The database.",
        "check": '`"quick"` or `"full"`.',
        "sound": "`true` if no damage was found.",
        "seconds": "How long it took.",
        "damages": "List of words.",
    },
    "db backup": {
        "dry_run": _DRY,
        "target": "The copy.",
        "size_bytes": "Its size; not when only tried.",
        "needed_bytes": "Space that is needed; only when tried.",
        "free_bytes": "Space that there is; only when tried.",
    },
}

FILE = {
    "id": "Never used again: `STORE-NUMBER`; the number alone is enough for commands.",
    "name": "The name that it was dropped under; what cannot be shown is escaped.",
    "outcome": '`"processed"`, `"failed"`, `"rejected"` or `"vanished"`; `null` while it is open.',
    "kind": "Why it did not end as processed, one word; see [metrics.md](metrics.md).",
    "message": "The same for people.",
    "found_by": '`"event"`, `"scan"`, `"retry"` or `"recovery"`.',
    "discovered_at": "When it was noticed.",
    "claimed_at": "When it was taken.",
    "finished_at": "When its outcome was known.",
    "next_attempt_at": "When it will be tried again.",
    "attempts": "How many there were.",
    "interruptions": "How often in a row an agent died while it was running.",
    "exit_code": "Of the last attempt.",
    "duration_seconds": "Of the last attempt.",
    "wait_seconds": "From its discovery to its first start.",
    "size_bytes": "Of the file.",
    "sha256": "Of its content.",
    "filed_as": "Its name in `processed/` or `failed/`.",
    "status_file": "The name of its status file, see [status-file.md](status-file.md).",
    "retry_of": "The id of the file that it tries again.",
}

WHOLE_FILE = {
    "path": "Where it is now; `null` if it is not there any more.",
    "status_path": "Its status file, if that is there.",
    "error_log": "Its error log, if that is there.",
    "retried_as": "The id of the file that tries it again.",
    "runs": "Every attempt, the first one first: a list of [runs](#run).",
}

RUN = {
    "attempt": "1 for the first.",
    "started_at": "When it began.",
    "duration_seconds": "How long it took.",
    "exit_code": "Of the command.",
    "signal": "The number of the signal that ended it.",
    "kind": "Why it did not succeed.",
    "message": "The same for people.",
    "output": "What is kept of stdout and stderr together; bytes that are no UTF-8 are escaped.",
    "output_bytes": "How much there was in all.",
    "survivors": "Processes of it that could not be ended.",
}
