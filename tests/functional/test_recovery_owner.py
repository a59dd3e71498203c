"""
One agent per handoff and state directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agents import Agent, agent
from conservation import assert_conserved
from waiting import wait_until

BAD_CONFIGURATION = 78


@pytest.fixture
def first(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "first", {"agent": {"name": "first"}}) as one:
        one.start()
        yield one


@pytest.mark.slow
@pytest.mark.parametrize("shared", ["handoff_dir", "state_dir"])
def test_a_second_agent_on_the_same_directory_is_refused(first: Agent, tmp_path: Path, shared: str) -> None:
    """It names the directory and who holds it, and leaves the first one in peace."""
    directory = first.handoff if shared == "handoff_dir" else first.state
    with agent(tmp_path / "second", {"agent": {"name": "second", shared: str(directory)}}) as second:
        assert second.once() == BAD_CONFIGURATION
        said = second.log_text()

    assert first.process is not None
    assert str(directory) in said
    assert f"the agent 'first', process {first.process.pid}" in said
    first.drop("intent-1.json")
    first.filed(1)
    assert first.stop() == 0


@pytest.mark.slow
def test_a_killed_agent_holds_nothing(first: Agent) -> None:
    """The kernel gives its locks free, so nobody has to remove anything."""
    first.drop("intent-1.json")
    first.kill()

    assert first.once() == 0
    assert_conserved(first.root, ["intent-1.json"])


@pytest.mark.slow
def test_a_renamed_agent_finishes_what_lies_in_the_slots_of_its_old_name(tmp_path: Path) -> None:
    """Slots are found by their rows and by looking, whatever the agent is called now."""
    command = ["/bin/sh", "-c", '[ -e "$0/go" ] || sleep 60', "{out_dir}", "{path}"]
    names = ["intent-1.json", "intent-2.json", "intent-3.json"]
    settings: dict[str, dict[str, object]] = {
        "agent": {"name": "old", "max_workers": 1},
        "processor": {"command": command},
    }
    with agent(tmp_path, settings) as one:
        for name in names:
            one.drop(name)
        one.start()
        wait_until(lambda: len(list(one.work.glob("old/*/intent-*"))) == len(names))
        one.kill()
        (one.out / "go").touch()
        one.config.write_text(one.config.read_text().replace('name = "old"', 'name = "new"'))

        assert one.once() == 0
        rows = assert_conserved(tmp_path, names)
        assert {row["agent"] for row in rows} == {"old"}
