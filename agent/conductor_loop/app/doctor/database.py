"""
Checks of the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from conductor_loop.app.doctor.findings import Check, failed, ok, warning
from conductor_loop.errors import ConductorError, CorruptStoreError, StoreError
from conductor_loop.model import display_name
from conductor_loop.store import inspection
from conductor_loop.store.inspection import Contents
from conductor_loop.store.schema import DATABASE_NAME, database, is_there

_READ_SECONDS = 30.0
_CHECK_SECONDS = 20.0

_RESTORE = (
    "the next start sets it aside and begins a new one; to keep the history, stop the agent and put a copy "
    "from `conductor-loop db backup` back (docs/howto/operate.md)"
)


class Reading(NamedTuple):
    """
    What came of reading the database.
    """

    check: Check
    contents: Contents | None = None
    begins_anew: bool = False  #: there is none, or the next start sets it aside

    @property
    def complete(self) -> bool:
        """
        Tell whether it is known which files the next start would know of.
        """
        return self.begins_anew or (self.contents is not None and self.contents.rows is not None)


def read(state_dir: Path) -> Reading:
    """
    Look into the database.

    Raises:
        PermissionError: if we may not.
    """
    path = state_dir / DATABASE_NAME
    shown = display_name(str(path))
    if not is_there(path):
        words = f"{shown}: is not there yet; the agent makes it when it starts"
        return Reading(ok("database", words), begins_anew=True)
    try:
        found = inspection.contents(state_dir, _READ_SECONDS)
    except CorruptStoreError as error:
        return Reading(failed("database", str(error), _RESTORE), begins_anew=True)
    except StoreError as error:
        return Reading(failed("database", str(error), "see `conductor-loop db current`"))
    return Reading(
        _judge(found), found if found.marked is None else None, begins_anew=found.marked is not None
    )


def check_integrity(state_dir: Path) -> Iterator[Check]:
    """
    Look for damage, as long as that is quick.
    """
    path = state_dir / DATABASE_NAME
    if not is_there(path):
        return
    try:
        damages = inspection.damages(database(state_dir), deadline_seconds=_CHECK_SECONDS)
    except StoreError as error:
        yield failed("integrity", str(error))
        return
    if damages is None:
        yield ok(
            "integrity", f"not checked in {_CHECK_SECONDS:g} s; `conductor-loop db check` takes its time"
        )
    elif damages:
        yield failed("integrity", f"the database is damaged: {damages[0]}", _RESTORE)
    else:
        yield ok("integrity", "no damage found")


def _judge(found: Contents) -> Check:
    schema = found.schema
    try:
        schema.check_compatible()
    except ConductorError as error:
        return failed("database", str(error))
    if found.marked is not None:
        return failed("database", f"was found damaged while in use: {found.marked.splitlines()[0]}", _RESTORE)
    words = (
        f"{display_name(str(schema.path))}: schema {schema.revision}, {found.size_bytes / 1024**2:.1f} MiB, "
        f"the last file is number {found.highest_number}"
    )
    if schema.behind:
        hint = "nothing to do: the agent upgrades it when it starts; or `conductor-loop db upgrade`"
        return warning("database", f"{words}; this program has schema {schema.head}", hint)
    return ok("database", words)
