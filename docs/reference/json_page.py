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
    for title, keys in (
        ("File", FILE),
        ("File in full", WHOLE_FILE),
        ("Run", RUN),
        ("Interrupted run", INTERRUPTED_RUN),
    ):
        yield from (f"### {title}", "")
        yield from table("key | meaning", ((f"`{key}`", meaning) for key, meaning in keys.items()))


INTRODUCTION = """
    `-o json` prints one document on stdout, whose first key is `"version": 1`. Within a version keys are only added:
    none is renamed, removed or given another meaning. Errors are words on stderr, and the exit code is the same as
    without `-o json`.

    `--field NAME` prints one value alone and needs neither `-o json` nor another program: a string as it is,
    everything else as JSON. Keys are joined with dots, lists are counted from 0, and `*` stands for every element of
    a list, a line each: `conductor-loop files list --failed --field 'files.*.id'`,
    `conductor-loop status --field metrics.workers.queue_depth`. A name that is not there exits 2 and says what is.

    Commands that change something look at the first key before they do: exit 2 means that nothing was done. If the rest
    of the name turns out not to be there, it was done already: they print the whole document, say so on stderr and exit
    as without `--field`.

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
        "reason": "What is wrong, where `health` does not say it: nobody answers, another version, only degraded.",
        "health": "The document of `GET /health`; `null` if nobody answers.",
    },
    "top": {
        "health": "The document of `GET /health`, see [health.md](health.md).",
        "metrics": "The document of `GET /metrics`, see [metrics.md](metrics.md).",
        "files": "The last ten files, newest first: a list of [files](#file).",
    },
    "files list": {
        "files": "By id, newest first: a list of [files](#file).",
        "next": "The id of the last one if more match than `--limit` allows, otherwise `null`.",
    },
    "files show": {"...": "The keys of a [file](#file) and of a [file in full](#file-in-full)."},
    "files retry": {
        "dry_run": _DRY,
        "retried": "List: `id` of the new file (`null` if only tried), `retry_of`, `name`, `path` of the file that it "
        "took, and with `--wait` its `outcome`.",
        "refused": "List: `id` as it was given, `error`, `kind` and `exit_code`.",
        "left": "How many were not asked for any more, after Ctrl-C, the end of the agent, or a refusal because intake is paused.",
        "unknown": "The one that was asked for and not answered; whether it was retried, `files show` tells.",
    },
    "files explain": {
        "path": "The file that was looked at.",
        "name": "The name that it has, or would have.",
        "entry": 'What it is, such as `"regular file"`.',
        "in_handoff_dir": "Whether it lies there.",
        "fate": "What would become of it.",
        "ignored": "Why it would not be taken; a list of words.",
        "paused": "Reason -> `since` and `message`, of the pauses that it waits for.",
        "settling": "What it still waits for.",
        "rejection": "As what it would be rejected.",
        "problems": "Everything that is wrong with its content.",
        "command": "The command line, a list.",
        "environment": "Variables that are added for the command.",
        "command_problem": "Why the command could not be started.",
        "timeout_seconds": "Time that one attempt may take.",
        "retry": "When it would be tried again.",
    },
    "pause": {
        "dry_run": _DRY,
        "pauses": f"{_PAUSES}.",
        "before": "`since` and `message` of the pause of an operator that stood already; `null` if none did.",
    },
    "resume": {
        "dry_run": _DRY,
        "lifted": "The reasons that were ended.",
        "pauses": f"{_PAUSES}.",
    },
    "drain": {
        "dry_run": _DRY,
        "drained": "`true` if nothing runs and nothing is ready to run.",
        "running": "Files that are being worked on.",
        "queued": "Files that are taken and ready to run.",
        "waiting": "Files that wait for another attempt; when only tried without an agent, `null`.",
        "pauses": f"{_PAUSES}.",
        "stopped": "`true` if the agent was stopped and has ended.",
    },
    "reload": {
        "dry_run": _DRY,
        "changed": "Key, such as `agent.pattern` -> `from` and `to`.",
        "needs_restart": "The same, of keys that keep their old value until the agent is started again.",
        "warnings": "List of words.",
        "config_hash": "Of the configuration that is used from now on.",
    },
    "check-config": {
        "file": "The configuration file; `null` without one.",
        "problems": "List of words; where there are any the exit code is 78.",
        "warnings": "List of words.",
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
        "dry_run": _DRY,
        "from": "The migration before.",
        "to": "The migration now.",
        "backup": "The copy that is kept; `null` if there was nothing to do.",
        "backup_bytes": "Its size.",
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
    "wait_seconds": "From its discovery to its first start, also of a run that was cut off.",
    "size_bytes": "Of the file.",
    "sha256": "Of its content.",
    "filed_as": "Its name in `processed/` or `failed/`.",
    "status_file": "The name of its status file, see [status-file.md](status-file.md).",
    "retry_of": "The id of the file that it tries again.",
    "retried_as": "The id of the file that tries it again.",
    "state": 'Of an open file: `"queued"`, `"running"`, or `"waiting"` for another attempt; otherwise `null`.',
    "running_since": "When the run that goes on began.",
    "last_failure": "Why the last attempt at an open file failed: `kind` and `message`.",
}

WHOLE_FILE = {
    "path": "Where it is now; `null` if it is not there any more.",
    "status_path": "Its status file, if that is there.",
    "error_log": "Its error log, if that is there.",
    "runs": "Every attempt, the first one first: a list of [runs](#run).",
    "interrupted_runs": "Runs that were cut off and are no attempts: a list of [interrupted runs](#interrupted-run).",
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
    "output_cut": "`true` if something of it was left out in the middle.",
    "survivors": "Processes of it that could not be ended.",
}

INTERRUPTED_RUN = {
    "started_at": "When it began.",
    "found_at": "When that it was cut off was found out: at the start that followed, or at the stop.",
    "cause": '`"death"` of the agent, or its `"stop"`, which did not wait for the end of the run.',
}
