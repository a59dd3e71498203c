"""
Bringing an older database to the schema of this program: copy it, check the copy, then run the migrations.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import conductor_loop
from conductor_loop.errors import StoreError
from conductor_loop.model import display_name
from conductor_loop.store.backup import back_up, plan
from conductor_loop.store.engine import file_size, size_bytes
from conductor_loop.store.schema import schema

log = logging.getLogger(__name__)


class Upgrade(NamedTuple):
    """
    What an upgrade did.
    """

    from_revision: str
    to_revision: str
    backup: Path | None  #: None where nothing was to be done
    backup_bytes: int = 0


def upgrade(state_dir: Path, *, scripts: Path | None = None) -> Upgrade:
    """
    Run the migrations that the database in `state_dir` lacks, after a checked copy of it was made.

    The caller makes sure that no agent uses it.

    Args:
        state_dir: holds the database; the copy goes to its folder backups.
        scripts: the migrations; None: those of this program.

    Raises:
        CorruptStoreError: the database is damaged; nothing was changed.
        IncompatibleStoreError: it is too new for this program.
        StoreError: no database, no room for the copy, or a migration failed; the database is as it was.
    """
    before = schema(state_dir)
    before.check_compatible()
    if not before.behind:
        return Upgrade(before.revision, before.revision, None)
    backup = back_up(before)
    backup_bytes = file_size(backup)
    _migrate(before.path, scripts or migrations_dir())
    after = schema(state_dir)
    log.info(
        "upgraded the store from revision %s to %s; the copy of before stays until somebody deletes it: %s",
        before.revision,
        after.revision,
        backup,
    )
    return Upgrade(before.revision, after.revision, backup, backup_bytes)


def plan_upgrade(state_dir: Path) -> Upgrade:
    """
    Return what `upgrade` would do; changes nothing. How large the copy would be is what the database takes now.

    Raises:
        IncompatibleStoreError: the database is too new for this program.
        StoreError: no database, or no room for the copy.
    """
    before = schema(state_dir)
    before.check_compatible()
    if not before.behind:
        return Upgrade(before.revision, before.revision, None)
    return Upgrade(before.revision, before.head, plan(before).target, size_bytes(before.path))


def migrations_dir() -> Path:
    """
    Return the directory of the migrations: in the package where installed, beside it in a source tree.

    Raises:
        StoreError: neither is there.
    """
    package = Path(conductor_loop.__file__).parent
    for candidate in (package / "migrations", package.parents[1] / "migrations"):
        if (candidate / "env.py").is_file():
            return candidate
    raise StoreError(
        f"the installation is incomplete: no migrations in {package}; install conductor-loop again"
    )


def _migrate(path: Path, scripts: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "conductor_loop.store.migrate", path.absolute(), scripts.absolute()],
        # First in the child's search path, so that it is the program that we are, wherever we were started.
        cwd=Path(conductor_loop.__file__).parents[1],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        log.error("migrations failed with exit code %d: %s", done.returncode, done.stderr)
        reason = done.stdout.strip() or f"exit code {done.returncode}"
        raise StoreError(
            f"{display_name(str(path))}: the upgrade failed, the database is as it was: {reason}"
        )
