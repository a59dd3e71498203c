"""
`db current`, `db upgrade`, `db check` and `db backup`.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from conductor_loop import cli, clock
from conductor_loop.ledger import locks
from conductor_loop.ledger.locks import DirectoryLock
from conductor_loop.store.database import Store
from surroundings import NOBODY, as_nobody


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "agent.toml"
    path.write_text(f'[agent]\nhandoff_dir = "{tmp_path}/handoff"\nstate_dir = "{tmp_path}/state"\n')
    return str(path)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    Store.open(folder, now=clock.now_us()).close()
    return folder


def db(*arguments: str) -> object:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    return caught.value.code


@pytest.mark.parametrize("command", ["current", "upgrade", "check", "backup"])
def test_empty_file_is_no_database_yet(
    config: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it is for the agent; nothing is made of it."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "history.db").touch()
    assert db("--config", config, "db", command) == 74
    assert f"{tmp_path}/state/history.db: no such database" in capsys.readouterr().err
    assert os.listdir(tmp_path / "state") == ["history.db"]


@pytest.mark.parametrize("command", ["current", "upgrade", "check", "backup"])
def test_no_database_yet(
    config: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 74 with its path; nothing is made."""
    assert db("--config", config, "db", command) == 74
    assert f"{tmp_path}/state/history.db: no such database" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_current_shows_the_schema(config: str, state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a table for people, with what to do."""
    assert db("--config", config, "db", "current") == 0

    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["path"] == f"{state_dir}/history.db"
    assert rows["upgrade_needed"] == "no"
    assert rows["revision"] == rows["head"]


def test_current_json_has_a_version(config: str, state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shape that scripts rely on."""
    assert db("--config", config, "db", "current", "-o", "json") == 0

    document = json.loads(capsys.readouterr().out)
    assert list(document) == [
        "version",
        "path",
        "store_id",
        "revision",
        "head",
        "upgrade_needed",
        "schema_version",
        "min_compatible_version",
        "sqlite_version",
    ]
    assert document["version"] == 1
    assert document["upgrade_needed"] is False


def test_upgrade_of_a_present_schema_does_nothing(
    config: str, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No copy, and it says so."""
    assert db("--config", config, "db", "upgrade") == 0
    assert db("--config", config, "db", "upgrade", "-o", "json") == 0

    line, *rest = capsys.readouterr().out.splitlines()
    document = json.loads("\n".join(rest))
    assert line == f"nothing to do: the database is at {document['to']}"
    assert (document["version"], document["from"], document["backup"]) == (1, document["to"], None)


def test_upgrade_while_an_agent_runs_is_refused(
    config: str, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 78, naming the holder; after it ends the upgrade goes on."""
    with closing(DirectoryLock(state_dir, "the agent 'agent', process 1")):
        assert db("--config", config, "db", "upgrade") == 78
    assert "in use by the agent 'agent', process 1" in capsys.readouterr().err

    assert db("--config", config, "db", "upgrade") == 0


def test_upgrade_beside_another_command(
    config: str, state_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, for it can be tried again; dry or not."""
    monkeypatch.setattr(locks, "PATIENCE_SECONDS", 0.1)
    with closing(locks.lock_for_command(state_dir)):
        for options in ([], ["--dry-run"]):
            assert db("--config", config, "db", "upgrade", *options) == 1
            words = (
                f"another conductor-loop command (pid {os.getpid()}) is at work in {state_dir}; try again\n"
            )
            assert capsys.readouterr().err == words


def test_dry_run_of_an_upgrade_changes_nothing(
    config: str, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says from where to where, where the copy would go and how large it would be."""
    assert db("--config", config, "db", "upgrade", "--dry-run") == 0
    assert capsys.readouterr().out.startswith("nothing to do: the database is at ")
    with closing(sqlite3.connect(state_dir / "history.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
        connection.execute("UPDATE meta SET schema_version = 0")
    size = (state_dir / "history.db").stat().st_size

    assert db("--config", config, "db", "upgrade", "--dry-run") == 0
    words = capsys.readouterr().out
    assert db("--config", config, "db", "upgrade", "--dry-run", "-o", "json") == 0
    document = json.loads(capsys.readouterr().out)
    with closing(DirectoryLock(state_dir, "the agent 'agent', process 1")):
        assert db("--config", config, "db", "upgrade", "--dry-run") == 78

    assert words.startswith(
        f"would upgrade from 0000 to {document['to']}, after a copy of the database to {state_dir}"
    )
    assert list(document) == ["version", "dry_run", "from", "to", "backup", "backup_bytes"]
    assert (document["dry_run"], document["backup_bytes"]) == (True, size)
    assert document["backup"].startswith(f"{state_dir}/backups/history-0-")
    assert not (state_dir / "backups").exists()


def test_check_of_a_sound_database(config: str, state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0; neither log nor index are left behind."""
    assert db("--config", config, "db", "check") == 0
    assert db("--config", config, "db", "check", "--full") == 0

    quick, full = capsys.readouterr().out.splitlines()
    assert quick.startswith(f"{state_dir}/history.db: no damage found (quick check, ")
    assert "(full check, " in full
    assert os.listdir(state_dir) == ["history.db"]


def test_check_of_a_damaged_database(
    config: str, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 74 and what is damaged, in words and as JSON."""
    (state_dir / "history.db").write_bytes(b"this is no database" * 1000)

    assert db("--config", config, "db", "check") == 74
    said = capsys.readouterr().out
    assert db("--config", config, "db", "check", "-o", "json") == 74
    document = json.loads(capsys.readouterr().out)

    assert said.startswith(f"{state_dir}/history.db: damaged\n")
    assert list(document) == ["version", "path", "check", "sound", "seconds", "damages"]
    assert (document["sound"], len(document["damages"])) == (False, 1)


def test_backup_says_where_it_is_and_how_large(
    config: str, state_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a second one to the same place is refused with exit code 1."""
    target = tmp_path / "copy.db"

    assert db("--config", config, "db", "backup", str(target)) == 0
    size = target.stat().st_size
    assert capsys.readouterr().out == f"{target}  {size / 1024**2:.1f} MiB\n"
    assert db("--config", config, "db", "backup", str(target)) == 1
    assert "copy.db: is there already" in capsys.readouterr().err


def test_backup_json_has_a_version(config: str, state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shape that scripts rely on."""
    assert db("--config", config, "db", "backup", "-o", "json") == 0

    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["version", "target", "size_bytes", "dry_run"]
    assert Path(document["target"]).parent == state_dir / "backups"


def test_dry_run_of_a_backup_makes_nothing(
    config: str, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says where the copy would go and what room it takes."""
    assert db("--config", config, "db", "backup", "--dry-run") == 0
    assert db("--config", config, "db", "backup", "--dry-run", "-o", "json") == 0

    words, *rest = capsys.readouterr().out.splitlines()
    document = json.loads("\n".join(rest))
    assert words.startswith(f"would copy the database to {state_dir}/backups/history-")
    assert list(document) == ["version", "target", "needed_bytes", "free_bytes", "dry_run"]
    assert not (state_dir / "backups").exists()


def test_backup_into_a_directory_that_is_not_there(
    config: str, state_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, and what to do; nothing is wrong with the database."""
    assert db("--config", config, "db", "backup", str(tmp_path / "evidence" / "history.db")) == 1
    assert capsys.readouterr().err == f"{tmp_path}/evidence: no such directory; make it first\n"


@pytest.mark.root
@pytest.mark.parametrize("command", ["current", "check", "backup", "upgrade"])
def test_database_of_another_user(
    config: str, state_dir: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 77, whichever way it is met, and no word of SQLite's."""
    Path(config).chmod(0o644)
    for mode in (0o700, 0o711):
        (state_dir / "history.db").chmod(0o600)
        with as_nobody(state_dir.parent):
            pass
        state_dir.chmod(mode)
        with as_nobody(state_dir.parent):
            assert db("--config", config, "db", command) == 77
        said = capsys.readouterr().err
        assert "no permission" in said
        assert "SQLITE" not in said


@pytest.mark.root
def test_backup_to_where_this_user_may_not_write(
    config: str, state_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 77 as well."""
    Path(config).chmod(0o644)
    for path in (state_dir, *state_dir.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    with as_nobody(tmp_path):
        assert db("--config", config, "db", "backup", str(tmp_path / "history.db")) == 77
    assert f"{tmp_path}: no permission to write there" in capsys.readouterr().err
