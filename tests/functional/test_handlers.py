"""
Python handlers in a real agent, which nothing but the end of the process can end.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from agents import agent
from conservation import assert_conserved
from waiting import wait_until

SLEEPER = """
import os, threading, time
def handle(file):
    open(os.environ["STARTED"], "a").write("x")
    while not os.path.exists(os.environ["GO"]):
        threading.Event().wait(0.02)
"""


def test_an_orderly_stop_counts_for_no_file_of_a_handler(tmp_path: Path, monkeypatch: Any) -> None:
    """
    However often: the handler is left behind with the process, exit code 0, and the file never becomes poison.
    """
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("STARTED", str(tmp_path / "started"))
    monkeypatch.setenv("GO", str(tmp_path / "go"))
    settings = {
        "agent": {"shutdown_grace": "100ms"},
        "processor": {"kind": "python", "handler": "sleeper:handle", "timeout": "300s", "kill_grace": "0s"},
    }
    with agent(tmp_path, settings) as one:
        one.drop("intent-a.json")
        for turn in range(4):
            one.start()
            wait_until(lambda turn=turn: _size(tmp_path / "started") > turn)
            assert one.stop(timeout=30) == 0
        assert [(row["interruptions"], row["attempts"]) for row in one.rows()] == [(0, 0)]
        (tmp_path / "go").touch()
        assert one.once() == 0

        assert_conserved(tmp_path, ["intent-a.json"])


def _size(path: Path) -> int:
    return os.stat(path).st_size if path.exists() else 0
