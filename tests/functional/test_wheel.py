"""
What is shipped: the wheel holds all that the program needs, and runs without the checkout.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

import made_up_migrations
from agents import Agent, agent
from conservation import assert_conserved
from surroundings import missing

CHECKOUT = Path(__file__).parents[2]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
NEEDED = (
    "conductor_loop/migrations/env.py",
    "conductor_loop/migrations/script.py.mako",
    "conductor_loop/work/intent.schema.json",
    "conductor_loop/cli/__init__.py",
    "conductor_loop/py.typed",
)
MEND = '    op.execute("UPDATE meta SET schema_version = 2, min_compatible_version = 1")\n'


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [*PIP, "wheel", "--no-deps", "--wheel-dir", str(folder), str(CHECKOUT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode and "No matching distribution found for hatchling" in built.stderr:
        missing("hatchling, which builds the wheel, cannot be had from a package index")
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("conductor_loop-*.whl")
    return path


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """
    The program of a new virtual environment that knows the wheel and its dependencies, but not the checkout.
    """
    home = tmp_path / "installed"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    _run([*PIP, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)], tmp_path)
    # After the installation, for pip would take the editable one of this environment for an older version.
    (_packages(home) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = _run([str(python), "-c", "import conductor_loop; print(conductor_loop.__file__)"], tmp_path)
    assert where.startswith(f"{home}/")
    return home


@pytest.mark.slow
def test_the_wheel_holds_migrations_and_schema(wheel: Path) -> None:
    """
    All of them, and nothing of the tests.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    versions = {f"conductor_loop/migrations/versions/{path.name}" for path in _versions(CHECKOUT)}

    assert names >= {*NEEDED, *versions}
    assert any(re.fullmatch(r"conductor_loop/migrations/versions/0001.*\.py", name) for name in names)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"conductor_loop"}


@pytest.mark.slow
def test_the_installed_program_runs_and_upgrades_without_the_checkout(
    installed: Path, tmp_path: Path
) -> None:
    """
    It validates and files with what it brought, and brings an older database to its schema, with a copy of it.
    """
    program = (str(installed / "bin" / "conductor-loop"),)
    with agent(tmp_path) as one:
        one.drop("intent-a.json")
        one.drop("intent-b.json", b'{"intent_type": "scaling"}')
        assert one.once(program=program) == 1
        rows = assert_conserved(tmp_path, ["intent-a.json", "intent-b.json"])
        assert [row["outcome"] for row in rows] == ["processed", "rejected"]

        _make_older(one.state, _packages(installed) / "conductor_loop" / "migrations", tmp_path)
        before = _db(one, program, "current")
        done = _db(one, program, "upgrade")
        after = _db(one, program, "current")
    assert (before["revision"], before["upgrade_needed"]) == ("0000", True)
    assert (done["from"], done["to"]) == ("0000", "0002")
    assert Path(done["backup"]).is_file()
    assert (after["revision"], after["upgrade_needed"]) == ("0002", False)


def _make_older(state: Path, migrations: Path, tmp_path: Path) -> None:
    """
    Give the database a revision of the past, and the installed program the way from there.
    """
    with closing(sqlite3.connect(state / "history.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
        connection.execute("UPDATE meta SET schema_version = 0, min_compatible_version = 0")
    past = made_up_migrations.past(tmp_path / "past", MEND)
    shutil.rmtree(migrations / "versions")
    shutil.copytree(past / "versions", migrations / "versions")


def _db(one: Agent, program: Sequence[str], verb: str) -> dict[str, str]:
    command = [*program, "--config", str(one.config), "db", verb, "-o", "json"]
    found: dict[str, str] = json.loads(_run(command, one.root))
    return found


def _run(command: Sequence[str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _packages(home: Path) -> Path:
    return Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))


def _versions(checkout: Path) -> list[Path]:
    return list((checkout / "migrations" / "versions").glob("[0-9]*.py"))
