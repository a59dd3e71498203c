"""
Taking over directories from the agent before.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from conductor_loop.app.inheritance import own_state
from conductor_loop.config import Agent, Config, Processor
from conductor_loop.errors import ConfigError, OwnedError
from conductor_loop.intake import mounts


def config(tmp_path: Path) -> Config:
    return Config(
        agent=Agent(state_dir=tmp_path / "state", handoff_dir=tmp_path / "handoff"),
        processor=Processor(out_dir=tmp_path / "out"),
    )


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse", "fuse.sshfs"])
def test_state_on_a_network_file_system_is_refused(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Key, directory, what it is on, why, and what would be right; nothing is locked or begun there.
    """
    asked: list[Path] = []
    monkeypatch.setattr(mounts, "fstype_of", lambda path: asked.append(path) or kind)

    with ExitStack() as stack, pytest.raises(ConfigError) as refused:
        own_state(config(tmp_path), "a test", stack)

    assert refused.value.exit_code == 78
    assert str(refused.value).endswith(
        f"agent.state_dir = {tmp_path}/state: is on {kind}, where a database loses data; "
        "put it on a local file system"
    )
    assert asked == [tmp_path / "state"]
    assert list((tmp_path / "state").iterdir()) == []


@pytest.mark.parametrize("kind", ["ext4", "overlay", ""])
def test_state_on_a_local_file_system_is_made_and_owned(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    By one agent at a time, and by the next one after it.
    """
    monkeypatch.setattr(mounts, "fstype_of", lambda path: kind)

    with ExitStack() as first:
        own_state(config(tmp_path), "the first", first)
        with ExitStack() as second, pytest.raises(OwnedError, match="the first"):
            own_state(config(tmp_path), "the second", second)
    with ExitStack() as third:
        own_state(config(tmp_path), "the third", third)

    assert (tmp_path / "out").is_dir()


@pytest.mark.parametrize(("folder", "key"), [("state", "agent.state_dir"), ("out", "processor.out_dir")])
def test_directory_that_cannot_be_made_is_refused_by_key_and_path(
    tmp_path: Path, folder: str, key: str
) -> None:
    """
    A file is in its place.
    """
    (tmp_path / folder).touch()

    with ExitStack() as stack, pytest.raises(ConfigError, match=f"{key} = {tmp_path}/{folder}: File exists"):
        own_state(config(tmp_path), "a test", stack)
