"""
What a configuration with mistakes still says of where the agent is asked.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from conductor_loop.config import admin_socket, salvage

NAMED = '[agent]\nstate_dir = "/srv/state"\n'
OURS = Path("/srv/state/admin.sock")


def found(text: str, folder: Path, **environ: str) -> Path | None:
    path = folder / "agent.toml"
    path.write_text(text)
    config = salvage(path, environ=environ, defaults={})
    return None if config is None else admin_socket(config)


@pytest.mark.parametrize(
    ("text", "socket"),
    [
        (NAMED + 'max_workers = "many"\n[processor]\ntimeout = "20 parsecs"\n', OURS),
        (NAMED + "[[[\n", OURS),
        (NAMED + "settle = \n[admin]\n", OURS),
        (NAMED + '[processor]\ncommand = ["""', OURS),
        (NAMED + '[admin]\nsocket = "/run/x.sock"\n[http]\n[http]\n', Path("/run/x.sock")),
        ("processor = 3\n" + NAMED, OURS),
        ("[agent]\nmax_workers = 0\n", Path("/var/lib/conductor-loop/state/admin.sock")),
        ("[[[\n" + NAMED, None),
        ("[agent]\nstate_dir = 7\n", None),
        ('[agent]\nstate_dir = "/srv/state"\n[admin]\nsocket = 7\n', None),
    ],
)
def test_keys_that_can_be_read_name_the_socket(tmp_path: Path, text: str, socket: Path | None) -> None:
    """None where they may stand in what cannot be read: a guess could be another agent's."""
    assert found(text, tmp_path) == socket


def test_environment_and_defaults_name_it_as_well(tmp_path: Path) -> None:
    """Also where the file cannot be read at all."""
    missing = tmp_path / "missing.toml"
    variable = {"CONDUCTOR_LOOP_AGENT_STATE_DIR": "/srv/state"}
    instance = {"admin.socket": "/run/conductor-loop/west/admin.sock"}

    assert found("[[[", tmp_path, **variable) == OURS
    assert salvage(missing, environ={}, defaults={}) is None
    config = salvage(missing, environ={}, defaults=instance)
    assert config is not None
    assert admin_socket(config) == Path("/run/conductor-loop/west/admin.sock")
