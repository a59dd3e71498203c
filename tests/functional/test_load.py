"""
More files than the kernel's event queue holds, while the agent hardly gets to run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agents import INTENT, agent
from conservation import assert_conserved
from waiting import wait_until

PROGRAM = Path(__file__).with_name("burning_agent.py")
MANY = 20_000


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("watch", ["inotify", "poll"])
def test_every_one_of_20_000_files_is_filed_beside_four_busy_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: str
) -> None:
    """
    Whether or not events were lost: the directory is the truth (defects 5, 8, 10).
    """
    (tmp_path / "accepting.py").write_text("def handle(file):\n    pass\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    settings = {
        "agent": {"watch": watch, "scan_interval": "1s"},
        "processor": {"kind": "python", "handler": "accepting:handle"},
    }
    count = MANY if watch == "inotify" else MANY // 10
    names = [f"intent-{number}.json" for number in range(count)]
    with agent(tmp_path, settings) as one:
        staging = tmp_path / "staging"
        staging.mkdir()
        for name in names:
            (staging / name).write_bytes(INTENT)
        sign = tmp_path / "burning"
        one.start(program=(sys.executable, str(PROGRAM), "4", str(sign)))
        sign.touch()
        for name in names:
            (staging / name).rename(one.handoff / name)
        wait_until(lambda: len(list(one.processed.iterdir())) >= count // 50, timeout=60, step=0.1)
        sign.unlink()
        one.filed(count, timeout=240)
        one.stop()

        rows = assert_conserved(tmp_path, names)
    assert {row["outcome"] for row in rows} == {"processed"}
