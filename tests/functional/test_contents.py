"""
What is in a file decides how it ends, and every way of ending is told alike everywhere.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from agents import INTENT, Agent, agent
from conservation import assert_conserved
from surroundings import AS_NOBODY, give, land_of_nobody, locked
from waiting import wait_until

#: what the command is to do with a file is its target
SCRIPT = """#!/bin/sh
case "$(cat "$1")" in
*be-killed*) kill -SEGV $$ ;;
*exit-3*) echo "first line"; echo "out of luck" >&2; exit 3 ;;
*too-slow*) exec sleep 60 ;;
esac
"""
#: content, outcome, kind, phrase in /metrics
CASES: dict[str, tuple[bytes, str, str, str]] = {
    "truncated": (b'{"intent_type": "scaling"', "rejected", "invalid_json", "invalid JSON format"),
    "text": (b"hello", "rejected", "invalid_json", "invalid JSON format"),
    "nan": (INTENT.replace(b"3", b"NaN"), "rejected", "invalid_json", "invalid JSON format"),
    "twice": (INTENT.replace(b"{", b'{"replicas": 1, '), "rejected", "duplicate_key", "duplicate JSON key"),
    "deep": (b"[" * 200_000 + b"]" * 200_000, "rejected", "too_deep", "JSON too deep"),
    "large": (INTENT + b" " * (5 * 1024 * 1024), "rejected", "too_large", "file too large"),
    "empty": (b"", "rejected", "empty", "empty file"),
    "blank": (b" \n\t ", "rejected", "empty", "empty file"),
    "latin": (INTENT.replace(b"cell", b"\xe9"), "rejected", "not_utf8", "not UTF-8"),
    "utf16": (INTENT.decode().encode("utf-16"), "rejected", "not_utf8", "not UTF-8"),
    "missing": (
        b'{"intent_type": "scaling", "target": "x", "namespace": "y"}',
        "rejected",
        "missing_field",
        "missing required field",
    ),
    "value": (INTENT.replace(b"3", b"-3"), "rejected", "invalid_value", "invalid field value"),
    "digits": (INTENT.replace(b"3", b"9" * 5000), "rejected", "invalid_json", "invalid JSON format"),
    "list": (b"[" + INTENT + b"]", "rejected", "invalid_value", "invalid field value"),
    "unknown": (INTENT.replace(b"{", b'{"more": 1, '), "rejected", "unknown_field", "unknown field"),
    "exit": (INTENT.replace(b"cell", b"exit-3"), "failed", "command_failed", "porch command failed"),
    "killed": (INTENT.replace(b"cell", b"be-killed"), "failed", "signal", "killed by signal"),
    "slow": (INTENT.replace(b"cell", b"too-slow"), "failed", "timeout", "timeout"),
}

MADE_TO_HURT = (
    b'{"\\ud800": 1}',
    b'{"intent_type": "\\ud800", "target": "x", "namespace": "y"}',
    b'{"intent_type": "scaling", "target": "\\u0000", "namespace": "y", "replicas": 1}',
    INTENT.replace(b"3", b"1e999999"),
    b"\xef\xbb\xbf" + INTENT,
    INTENT + b"\0",
    b'{"a":' * 60 + b"1" + b"}" * 60,
    b"[" + b"1," * 1_000_000 + b"1]",
    b'{"' + b"k" * 4_000_000 + b'": 1}',
)


def test_every_kind_is_told_alike_in_row_status_file_error_log_and_metrics(tmp_path: Path) -> None:
    """
    One file of each kind: its slug in row, status file and error log, its phrase in `/metrics`.
    """
    settings = {
        "processor": {"command": [str(tmp_path / "porch"), "{path}"], "timeout": "1s"},
        "retry": {"max_attempts": 1},
    }
    with agent(tmp_path, settings) as one:
        _make_script(tmp_path / "porch")
        one.start()
        for name, (content, *_) in CASES.items():
            one.drop(f"intent-{name}.json", content)
        one.drop("intent-\udcff.json")
        one.drop("intent-good.json")
        _drop_and_take_away(one, "intent-gone.json")
        one.filed(len(CASES) + 2)
        wait_until(
            lambda: one.get("/metrics")[1]["errors"]["processing_errors_by_type"].get("file not found")
        )
        wait_until(lambda: _counted(one) == len(CASES) + 2)
        metrics, prometheus = one.get("/metrics")[1], one.get("/metrics/prometheus")[1].decode()
        one.stop()
        dropped = [*(f"intent-{name}.json" for name in CASES), "intent-\udcff.json", "intent-good.json"]
        rows = {row["name"]: row for row in assert_conserved(tmp_path, dropped)}

    assert {
        name: (rows[f"intent-{name}.json"]["outcome"], rows[f"intent-{name}.json"]["kind"]) for name in CASES
    } == {name: (outcome, kind) for name, (_, outcome, kind, _) in CASES.items()}
    assert [rows[f"intent-{name}.json"]["kind"] for name in ("\udcff", "gone")] == ["bad_name", "vanished"]
    for name, (_, outcome, kind, _) in CASES.items():
        log = (one.failed / f"intent-{name}.json.error.log").read_text()
        assert f"Kind:      {kind}\n" in log
        assert rows[f"intent-{name}.json"]["message"] in log
        assert re.search(rf'outcomes_total{{kind="{kind}",outcome="{outcome}"}} [1-9]', prometheus)
    assert metrics["errors"]["validation_errors_by_type"] == _phrases("rejected") | {"invalid file name": 1}
    assert metrics["errors"]["processing_errors_by_type"] == _phrases("failed") | {"file not found": 1}
    assert metrics["errors"]["timeout_count"] == 1
    performance = metrics["performance"]
    assert performance["files_processed_total"] == 1
    assert performance["files_failed_total"] == 3
    assert performance["validation_failures_total"] == len(CASES) - 3 + 1
    assert "out of luck" in (one.failed / "intent-exit.json.error.log").read_text()


def test_a_file_of_exactly_the_largest_size_is_run_and_one_byte_more_is_not(tmp_path: Path) -> None:
    """
    The limit is the last size that is accepted.
    """
    with agent(tmp_path) as one:
        size = 5 * 1024 * 1024
        one.drop("intent-fits.json", INTENT.ljust(size))
        one.drop("intent-over.json", INTENT.ljust(size + 1))
        assert one.once() == 1

        rows = assert_conserved(tmp_path, ["intent-fits.json", "intent-over.json"])
    assert {row["name"]: row["kind"] for row in rows} == {
        "intent-fits.json": None,
        "intent-over.json": "too_large",
    }


def test_what_a_handler_raises_is_the_end_of_its_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    SystemExit, KeyboardInterrupt, text that no database takes and a raised Retry do not reach the agent.
    """
    (tmp_path / "raising.py").write_text(
        "def handle(file):\n"
        "    raise {\n"
        "        'a': SystemExit(0), 'b': KeyboardInterrupt(), 'c': ValueError('\\udcff\\0\\x1b[2J'),\n"
        "        'd': RecursionError('deep'), 'e': MemoryError(),\n"
        "    }[file.data['target']]\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    settings = {"processor": {"kind": "python", "handler": "raising:handle"}}
    with agent(tmp_path, settings) as one:
        names = [f"intent-{letter}.json" for letter in "abcde"]
        for letter, name in zip("abcde", names, strict=True):
            one.drop(name, INTENT.replace(b"cell", letter.encode()))
        assert one.once() == 1

        rows = assert_conserved(tmp_path, names)
    assert {row["kind"] for row in rows} == {"handler_error"}


def test_json_made_to_hurt_is_rejected(tmp_path: Path) -> None:
    """
    Whatever it is, it ends as rejected with a message that every place can hold.
    """
    with agent(tmp_path) as one:
        for number, content in enumerate(MADE_TO_HURT):
            one.drop(f"intent-{number}.json", content)
        assert one.once() == 1

        names = [f"intent-{number}.json" for number in range(len(MADE_TO_HURT))]
        rows = assert_conserved(tmp_path, names)
    assert {row["outcome"] for row in rows} == {"rejected"}
    assert all(len(row["message"]) < 2000 for row in rows)


@pytest.mark.root
def test_an_unreadable_file_is_rejected(tmp_path: Path) -> None:
    """
    The agent's user may not read it, but may move it.
    """
    with land_of_nobody() as root, agent(root) as one:
        give(one.handoff, one.out)
        secret = root / "secret"
        secret.write_bytes(INTENT)
        secret.chmod(stat.S_IRUSR)
        os.rename(secret, one.handoff / "intent-secret.json")
        one.drop("intent-good.json")
        assert one.once(program=AS_NOBODY) == 1

        rows = assert_conserved(root, ["intent-secret.json", "intent-good.json"])
    assert {row["name"]: row["kind"] for row in rows} == {
        "intent-secret.json": "unreadable",
        "intent-good.json": None,
    }


def _make_script(path: Path) -> None:
    path.write_text(SCRIPT)
    path.chmod(0o755)


def _drop_and_take_away(one: Agent, name: str) -> None:
    """
    Have a file claimed that is not there any more when it is to be moved.
    """
    with locked(one.state):
        one.drop(name)
        wait_until(lambda: "store" in one.get("/health")[1]["details"]["paused"])
        (one.handoff / name).unlink()


def _counted(one: Agent) -> int:
    performance = one.get("/metrics")[1]["performance"]
    return sum(
        performance[f"{name}_total"] for name in ("files_processed", "files_failed", "validation_failures")
    )


def _phrases(outcome: str) -> dict[str, int]:
    found = [phrase for _, how, _, phrase in CASES.values() if how == outcome]
    return {phrase: found.count(phrase) for phrase in found}
