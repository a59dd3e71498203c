"""
Copies of a database: made beside a running agent, checked, and on the disk before they have their name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from conductor_loop import clock
from conductor_loop.errors import (
    ConflictError,
    CorruptStoreError,
    NotFoundError,
    PermissionDeniedError,
    StoreError,
)
from conductor_loop.model import display_name
from conductor_loop.store import engine, putback
from conductor_loop.store.failures import explained
from conductor_loop.store.opening import sync
from conductor_loop.store.schema import Schema

_SPARE_BYTES = 32 << 20  #: that a backup leaves free: the write-ahead log needs them
_PARTIAL = ".partial-"
#: 1 MiB between two flushes: a commit of the agent may have to wait for what is not on the disk yet. Measured for
#: 300 MiB: the longest commit is 30 ms, and 120 ms where the copy is written in one go.
_STEP_PAGES = 256


class Plan(NamedTuple):
    """
    What a copy takes.
    """

    target: Path
    needed_bytes: int
    free_bytes: int


def back_up(found: Schema, target: Path | None = None) -> Path:
    """
    Copy a database, also while an agent writes to it; nothing is ever overwritten.

    While the copy is made the write-ahead log cannot be emptied; it grows by what the agent writes meanwhile.

    Args:
        target: where to; None: into the folder backups beside the database, named after schema and moment.

    Returns:
        The path of the copy.

    Raises:
        ConflictError: there is something of this name already.
        NotFoundError: there is no such directory.
        PermissionDeniedError: this user may not write there.
        CorruptStoreError: the database is damaged.
        StoreError: there is no room, or the copy failed.
    """
    path = target or _default_target(found)
    try:
        if target is None:
            _make_folder(path.parent)
        plan(found, path)
        with _partial(path) as partial, explained(found.path):
            _copy(found.path, partial)
            _name(partial, path)
        if target is None:
            _give_to_owner(path, path.parent)
        sync(path.parent)
    except PermissionError as error:
        raise PermissionDeniedError(
            f"{display_name(str(path.parent))}: no permission to write there; name another place, or another user"
        ) from error
    except OSError as error:
        raise StoreError(f"{display_name(str(path))}: the copy failed: {error.strerror or error}") from error
    return path


def plan(found: Schema, target: Path | None = None) -> Plan:
    """
    Return what `back_up` would do; makes nothing.

    Raises:
        ConflictError, NotFoundError, StoreError: as `back_up`, as far as that can be known before.
    """
    path = target or _default_target(found)
    _check_free(path)
    # The folder backups is made when it is needed.
    folder = path.parent if target or path.parent.exists() else found.path.parent
    needed = engine.size_bytes(found.path) + _SPARE_BYTES
    try:
        free = shutil.disk_usage(folder).free
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"{display_name(str(folder))}: no such directory; make it first") from error
    except PermissionError:
        raise
    except OSError as error:
        raise StoreError(f"{display_name(str(folder))}: {error.strerror}") from error
    if free < needed:
        raise StoreError(
            f"{display_name(str(folder))}: no room for a copy of the database: "
            f"{needed} bytes needed, {free} bytes free"
        )
    return Plan(path, needed, free)


def _default_target(found: Schema) -> Path:
    name = f"history-{found.schema_version}-{clock.compact(clock.now_us())}"
    folder = found.path.parent / "backups"
    names = (f"{name}{again}.db" for again in ("", *(f"-{turn}" for turn in range(2, 100))))
    return next(
        (folder / name for name in names if not os.path.lexists(folder / name)), folder / f"{name}.db"
    )


def _check_free(target: Path) -> None:
    if os.path.lexists(target):
        raise ConflictError(f"{display_name(str(target))}: is there already; name a file that does not exist")


def _make_folder(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o750)
        _give_to_owner(folder, folder.parent)
    _remove_partials(folder)


def _give_to_owner(path: Path, like: Path) -> None:
    if os.geteuid() == 0:  # the agent's user is to find it as if the agent had made it
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """
    Give an empty file beside `path` that is gone afterwards.
    """
    partial = path.with_name(f".{path.name}{_PARTIAL}{os.getpid()}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(partial, flags, 0o640)  # outputs may hold secrets
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # says that it is in use
        yield partial
    finally:
        partial.unlink(missing_ok=True)
        os.close(descriptor)


def _remove_partials(folder: Path) -> None:
    """
    Remove what copies that were killed have left in our own folder.
    """
    for partial in folder.glob(f".history-*{_PARTIAL}*"):
        with contextlib.suppress(OSError), partial.open("rb") as file:  # in use, or gone
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()


def _copy(source: Path, target: Path) -> None:
    began_at = clock.now_us()
    with _connection(source, "ro") as old, _connection(target, "rw") as new:
        # Nobody else knows the copy, so that it needs neither locks nor a journal: what a crash leaves is of no use.
        new.execute("PRAGMA journal_mode=OFF").fetchall()
        new.execute("PRAGMA synchronous=OFF").fetchall()
        # One snapshot for all steps: otherwise every commit of the agent would begin the copy anew.
        old.execute("BEGIN")
        old.execute("PRAGMA schema_version").fetchall()
        with _flushing(target) as flush:
            old.backup(new, pages=_STEP_PAGES, progress=lambda status, left, total: flush())
        old.execute("COMMIT")
        new.execute("PRAGMA journal_mode=DELETE").fetchall()  # one file, with nothing beside it
        putback.sign(new, began_at)
        problems = [row[0] for row in new.execute("PRAGMA quick_check(3)")]
    if problems != ["ok"]:
        raise CorruptStoreError(
            f"{display_name(str(source))}: the database is damaged: {'; '.join(problems)}"
        )
    sync(target)


def _connection(path: Path, mode: str) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(engine.connection_to(path, mode, engine.READER_BUSY_SECONDS))


@contextlib.contextmanager
def _flushing(path: Path) -> Iterator[Callable[[], None]]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        yield lambda: os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _name(partial: Path, path: Path) -> None:
    """
    Give the copy its name, never over another file.
    """
    try:
        os.link(partial, path)
    except FileExistsError:
        _check_free(path)
        raise
    except OSError:  # no second names on this file system
        _check_free(path)
        partial.rename(path)
