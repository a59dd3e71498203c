"""
The whole agent inside this process.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from conductor_loop import app, clock
from conductor_loop.config import Agent, Config, Http, Processor
from conductor_loop.model import Filed, PauseReason
from conductor_loop.store.changes import Changes
from conductor_loop.store.database import Store
from waiting import wait_until

INTENT = b'{"intent_type": "scaling", "target": "cell", "namespace": "ran", "replicas": 3}'


@pytest.fixture(autouse=True)
def _children_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGCHLD)
    yield
    signal.signal(signal.SIGCHLD, before)


def config(tmp_path: Path, *command: str) -> Config:
    handoff = tmp_path / "handoff"
    handoff.mkdir()
    (handoff / "intent-a.json").write_bytes(INTENT)
    return Config(
        agent=Agent(
            handoff_dir=handoff,
            state_dir=tmp_path / "state",
            processed_dir=handoff / "processed",
            failed_dir=handoff / "failed",
            status_dir=handoff / "status",
            work_dir=handoff / "work",
            settle=0.01,
            min_free=0,
        ),
        processor=Processor(command=command or ("/bin/true", "{path}"), out_dir=tmp_path / "out"),
        http=Http(metrics_port=0),
    )


def remember_pause(state_dir: Path, reason: PauseReason, message: str) -> None:
    """
    Leave a database that an agent paused by somebody has left.
    """
    state_dir.mkdir()
    with closing(Store.open(state_dir, now=clock.now_us())) as store:
        store.writer.commit(Changes(pauses={reason: (clock.now_us(), message)}))
        store.writer.close()


def test_once_works_off_what_is_there(tmp_path: Path) -> None:
    """
    Each file is told to whoever shows it.
    """
    shown: list[Filed] = []

    assert app.run(config(tmp_path), once=True, show=shown.extend) == 0

    assert [(filed.name, filed.outcome) for filed in shown] == [("intent-a.json", "processed")]
    assert (tmp_path / "handoff" / "processed" / "intent-a.json").exists()


def test_files_are_shown_after_the_start_was_said(tmp_path: Path) -> None:
    """
    Also those that ended while parts of the agent were still being started.
    """
    told: list[str] = []
    processed = tmp_path / "handoff" / "processed"

    def started() -> None:
        wait_until((processed / "intent-a.json").exists)
        (tmp_path / "handoff" / "intent-b.json").write_bytes(INTENT)
        wait_until((processed / "intent-b.json").exists)  # the line of the first one is long due by now
        told.append("started")

    def show(files: Sequence[Filed]) -> None:
        told.extend(filed.name for filed in files)

    assert app.run(config(tmp_path), once=True, show=show, started=started) == 0

    assert told == ["started", "intent-a.json", "intent-b.json"]


@pytest.mark.parametrize("reason", [PauseReason.OPERATOR, PauseReason.DRAIN])
def test_once_does_not_wait_for_an_operator_who_has_paused_it(
    tmp_path: Path, reason: PauseReason, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It ends with 1 and the operator's words, and touches no file.
    """
    remember_pause(tmp_path / "state", reason, "paused by ada for the move")
    shown: list[Filed] = []

    with caplog.at_level(logging.ERROR):
        assert app.run(config(tmp_path), once=True, show=shown.extend) == 1

    assert "nothing can be worked on now: paused by ada for the move" in caplog.text
    assert shown == []
    assert (tmp_path / "handoff" / "intent-a.json").exists()


def test_commands_do_not_see_the_settings_of_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What else is in the environment they see, with the identity of their file.
    """
    monkeypatch.setenv("CONDUCTOR_LOOP_STORE_URL", "a secret")
    monkeypatch.setenv("CONDUCTOR_LOOP_CONFIG", "/somewhere")
    monkeypatch.setenv("OTHERWISE", "kept")

    assert app.run(config(tmp_path, "/bin/sh", "-c", 'env > "$0/env"', "{out_dir}", "{path}"), once=True) == 0

    seen = (tmp_path / "out" / "env").read_text()
    assert "CONDUCTOR_LOOP_" not in seen
    assert "OTHERWISE=kept\n" in seen
    assert "CONDUCTOR_NAME=intent-a.json\n" in seen
