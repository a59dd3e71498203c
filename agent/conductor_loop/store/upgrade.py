"""
Bringing an older database to the schema of this program: copy it, check the copy, then run the migrations.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import conductor_loop
from conductor_loop import clock
from conductor_loop.errors import CorruptStoreError, StoreError
from conductor_loop.model import display_name
from conductor_loop.store import engine
from conductor_loop.store.failures import explained
from conductor_loop.store.opening import sync
from conductor_loop.store.schema import Schema, schema

log = logging.getLogger(__name__)

_SPARE_BYTES = 32 << 20  #: that a backup leaves free: the write-ahead log needs them


class Upgrade(NamedTuple):
    """
    What an upgrade did.
    """

    from_revision: str
    to_revision: str
    backup: Path | None  #: None where nothing was to be done


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
    backup = _back_up(before)
    _migrate(before.path, scripts or migrations_dir())
    after = schema(state_dir)
    log.info("upgraded the store from revision %s to %s, copy: %s", before.revision, after.revision, backup)
    return Upgrade(before.revision, after.revision, backup)


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


def _back_up(found: Schema) -> Path:
    folder = found.path.parent / "backups"
    target = folder / f"history-{found.schema_version}-{clock.compact(clock.now_us())}.db"
    partial = target.with_suffix(".partial")
    try:
        folder.mkdir(mode=0o750, exist_ok=True)
        _check_room(found.path, folder)
        with explained(found.path):
            _copy(found.path, partial)
        partial.replace(target)
        sync(folder)
    except OSError as error:
        raise StoreError(
            f"{display_name(str(target))}: the copy before the upgrade failed: {error}"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # not there any more, or its folder never was
            partial.unlink()
    return target


def _check_room(path: Path, folder: Path) -> None:
    needed, free = engine.size_bytes(path) + _SPARE_BYTES, shutil.disk_usage(folder).free
    if free < needed:
        raise StoreError(
            f"{display_name(str(folder))}: no room for the copy of the database before its upgrade: "
            f"{needed} bytes needed, {free} bytes free"
        )


def _copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    with (
        contextlib.closing(sqlite3.connect(source)) as old,
        contextlib.closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)
        new.execute("PRAGMA journal_mode=DELETE").fetchall()  # one file, with nothing beside it
        problems = [row[0] for row in new.execute("PRAGMA quick_check(3)")]
    if problems != ["ok"]:
        raise CorruptStoreError(
            f"{display_name(str(source))}: the database is damaged: {'; '.join(problems)}"
        )
    sync(target)


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
