"""
What cannot be started with is said in one line, with an exit code of its own.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from agents import agent
from conservation import assert_conserved
from surroundings import AS_NOBODY, give, land_of_nobody, small_disk
from waiting import wait_until


@pytest.mark.slow
def test_files_go_on_while_the_port_is_taken(tmp_path: Path) -> None:
    """
    The log says so, and the port is bound once it is free.
    """
    with agent(tmp_path) as one:
        with socket.create_server(("127.0.0.1", one.port)):
            one.start(ready=False)
            one.drop("intent-a.json")
            one.filed(1)
            wait_until(lambda: f"cannot listen on 127.0.0.1 port {one.port}" in one.log_text())
        wait_until(one.is_ready, timeout=15)
        assert one.get("/health")[1]["components"]["metrics"] == "healthy"
        one.drop("intent-b.json")
        one.filed(2)
        one.stop()

        assert_conserved(tmp_path, ["intent-a.json", "intent-b.json"])


@pytest.mark.root
@pytest.mark.parametrize("folder", ["processed", "failed", "status", "work"])
def test_directories_on_different_file_systems_are_refused(tmp_path: Path, folder: str) -> None:
    """
    Before anything is touched, with both names.
    """
    with agent(tmp_path) as one:
        one.drop("intent-a.json")
        with small_disk(one.handoff / folder, "1m"):
            assert one.once() == 78
            assert (one.handoff / "intent-a.json").exists()
        assert "different file systems" in one.log_text()
        assert str(one.handoff / folder) in one.log_text()
        assert "Traceback" not in one.log_text()
        assert one.once() == 0
        assert_conserved(tmp_path, ["intent-a.json"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"agent": {"max_workers": 0}}, "max_workers"),
        ({"agent": {"settle": "soon"}}, "settle"),
        ({"processor": {"command": []}}, "command"),
        ({"processor": {"kind": "python", "handler": "no_such_module:handle"}}, "no_such_module"),
        ({"processor": {"kind": "python"}}, "processor.handler"),
        ({"validation": {"schema": "/no/such/file.json"}}, "[validation] schema"),
        ({"store": {"url": "postgresql://somewhere/x"}}, "[store] url"),
        ({"retry": {"initial_delay": "1h", "max_delay": "1s"}}, "[retry] initial_delay"),
    ],
)
def test_a_bad_configuration_is_refused_with_78(
    tmp_path: Path, settings: Mapping[str, Mapping[str, object]], said: str
) -> None:
    """
    Naming the key, and without a traceback.
    """
    with agent(tmp_path, settings) as one:
        one.drop("intent-a.json")
        assert one.once() == 78
        assert said in one.log_text()
        assert "Traceback" not in one.log_text()
        assert (one.handoff / "intent-a.json").exists()


def test_a_configuration_that_is_no_toml_is_refused_with_78(tmp_path: Path) -> None:
    """
    Naming file and line.
    """
    with agent(tmp_path) as one:
        one.config.write_text("[agent\nname = 1\n")
        assert one.once() == 78
        assert str(one.config) in one.log_text()
        assert "Traceback" not in one.log_text()


@pytest.mark.parametrize("place", ["handoff", "state", "out"])
def test_a_file_where_a_directory_is_needed_is_refused_with_78(tmp_path: Path, place: str) -> None:
    """
    Naming it.
    """
    with agent(tmp_path) as one:
        shutil.rmtree(tmp_path / place, ignore_errors=True)
        (tmp_path / place).write_text("no directory")
        assert one.once() == 78
        assert str(tmp_path / place) in one.log_text()
        assert "Traceback" not in one.log_text()


@pytest.mark.root
@pytest.mark.parametrize(
    "left",
    ["state", "state/.owner", "state/history.db", "state/running", "handoff/work", "handoff/work/.owner"],
)
def test_what_another_user_left_behind_is_refused_by_name(tmp_path: Path, left: str) -> None:
    """
    The agent was once run by root: no traceback, and the path that is in the way.
    """
    with land_of_nobody() as root, agent(root) as one:
        assert one.once() == 0
        for path in (one.handoff, one.out, one.state, *one.handoff.rglob("*"), *one.state.rglob("*")):
            give(path)
        path = root / left
        os.chown(path, 0, 0)
        path.chmod(0o700 if path.is_dir() else 0o600)
        assert one.once(program=AS_NOBODY) in (74, 77, 78)
        assert str(path) in one.log_text()
        assert "Traceback" not in one.log_text()

        give(path)
        one.drop("intent-a.json")
        assert one.once(program=AS_NOBODY) == 0
        assert_conserved(root, ["intent-a.json"])


def test_a_second_agent_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    """
    On the same state directory, and on the same handoff directory with a state of its own.
    """
    with agent(tmp_path) as one:
        one.start()
        assert one.process is not None
        for state in (one.state, tmp_path / "state2"):
            with agent(
                tmp_path / "other", {"agent": {"handoff_dir": str(one.handoff), "state_dir": str(state)}}
            ) as two:
                assert two.once() == 78
                assert f"process {one.process.pid}" in two.log_text()
        one.drop("intent-a.json")
        one.filed(1)
        one.stop()
        assert_conserved(tmp_path, ["intent-a.json"])
