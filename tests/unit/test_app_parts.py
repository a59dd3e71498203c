"""
What single parts take out of the configuration.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from conductor_loop.app.parts import author_of, own_folders, without_settings
from conductor_loop.config import Agent, Config, Processor

HANDOFF = Path("/drop")
FOLDERS = {
    "processed_dir": HANDOFF / "processed",
    "failed_dir": HANDOFF / "failed",
    "status_dir": HANDOFF / "status",
    "work_dir": HANDOFF / "work",
}


def test_settings_of_the_agent_do_not_reach_commands() -> None:
    """
    They may hold secrets; what is only named alike stays, as everything else does.
    """
    given = {
        "CONDUCTOR_LOOP_STORE_URL": "postgresql://me:secret@somewhere/x",
        "CONDUCTOR_LOOP_": "",
        "CONDUCTOR_LOOPS": "many",
        "CONDUCTOR_FILE_ID": "of a conductor around us",
        "PATH": "/bin",
    }

    assert without_settings(given) == {
        "CONDUCTOR_LOOPS": "many",
        "CONDUCTOR_FILE_ID": "of a conductor around us",
        "PATH": "/bin",
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["work", "processed", "failed", "status"]),
        ({"work_dir": HANDOFF / ".work"}, [".work", "processed", "failed", "status"]),
        ({"failed_dir": Path("/elsewhere/failed")}, ["work", "processed", "status"]),
        ({"status_dir": HANDOFF / "deep" / "status"}, ["work", "processed", "failed"]),
        (dict.fromkeys(FOLDERS, Path("/elsewhere")), []),
    ],
)
def test_own_folders_are_those_directly_in_the_handoff_directory(
    changes: dict[str, Path], expected: list[str]
) -> None:
    """
    With whatever name they have; a folder elsewhere leaves its name to the files.
    """
    config = Config(agent=Agent(handoff_dir=HANDOFF, **FOLDERS | changes))

    assert own_folders(config) == expected


def test_status_files_name_the_mode_and_what_ran() -> None:
    """
    The command's mode and program; for a handler its kind and name.
    """
    command = author_of(Config(processor=Processor(command=("/opt/porch", "{path}"), mode="structured")))
    python = author_of(Config(processor=Processor(kind="python", handler="made_up:handle")))

    assert (command.mode, command.porch_path) == ("structured", "/opt/porch")
    assert (python.mode, python.porch_path) == ("python", "made_up:handle")
    assert command.processed_by.endswith(" (agent)")
