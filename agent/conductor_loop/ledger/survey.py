"""
What recovery decides from: rows, running marks and what lies in the directories. Reads, changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from conductor_loop.ledger import failed, status
from conductor_loop.ledger.marks import Mark
from conductor_loop.ledger.places import Places, in_slot
from conductor_loop.ledger.reconcile import files_in_slots
from conductor_loop.model import Identity, Outcome
from conductor_loop.store.queries import FileRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """
    Where the file of one open row might be, and what is there; None: nothing.
    """

    row: FileRow
    in_slot: Identity | None = None
    in_handoff: Identity | None = None
    in_failed: Identity | None = None  #: of a retry: the file that it was, not claimed yet
    in_target: Identity | None = None
    status_ours: bool = False  #: its status file is there, whole, and carries its id
    mark: Mark | None = None  #: an agent died while it was running

    @property
    def in_source(self) -> Identity | None:
        """
        What is where its file was claimed from.
        """
        return self.in_handoff if self.row.retry_of is None else self.in_failed


@dataclass(frozen=True, slots=True)
class Stray:
    """
    A file in a slot without an open row.
    """

    agent: str
    slot: int
    name: str
    identity: Identity

    @property
    def relative(self) -> str:
        return in_slot(self.agent, self.slot, self.name)


@dataclass(frozen=True, slots=True)
class Facts:
    """
    Everything that recovery decides from.
    """

    rows: Sequence[Found]
    strays: Sequence[Stray]
    links: bool = False  #: moves are a link and an unlink here, so that a claim can be found half done


def survey(
    places: Places,
    rows: Iterable[FileRow],
    marks: Mapping[str, Mark],
    store_id: str,
    *,
    outdated: bool = False,
) -> Facts:
    """
    Look for the file of every open row, and for files without one.

    Args:
        rows: the open ones, by number.
        marks: by file id.
        outdated: the rows are those of a copy, and slots may have been given on since to files that have none.
    """
    rows = list(rows)
    in_slots = _in_slots(places, rows, outdated=outdated)
    found = [_find(places, row, in_slots.get(row.number), marks, store_id) for row in rows]
    owned = {(one.row.agent, one.row.slot, one.row.name) for one in found if one.in_slot or not outdated}
    strays = [
        Stray(*place, identity)
        for place in sorted(files_in_slots(places.work_fd))
        if place not in owned and (identity := _identity(places.work_fd, in_slot(*place)))
    ]
    return Facts(found, strays, links=places.links)


def _in_slots(places: Places, rows: Sequence[FileRow], *, outdated: bool) -> dict[int, Identity]:
    """
    Return the files in slots by the number of the row that each belongs to.

    A slot is given on as soon as its file is filed, and until the old row says so it may name the new file's place.
    The file is that of the row that knows it; one that was changed since is that of the latest row, or of none where
    the rows are outdated.
    """
    sharing: dict[str, list[FileRow]] = {}
    for row in rows:
        sharing.setdefault(in_slot(row.agent, row.slot, row.name), []).append(row)
    found: dict[int, Identity] = {}
    for relative, claimants in sharing.items():
        identity = _identity(places.work_fd, relative)
        if identity is not None:
            known = [row for row in claimants if identity.same_file(row.identity)]
            owners = known if known or outdated else claimants
            found |= {row.number: identity for row in owners[-1:]}
    return found


def _find(
    places: Places, row: FileRow, in_slot: Identity | None, marks: Mapping[str, Mark], store_id: str
) -> Found:
    file_id = f"{store_id}-{row.number}"
    target = None
    if row.target is not None:
        fd = places.processed_fd if row.outcome == Outcome.PROCESSED else places.failed_fd
        target = _identity(fd, row.target)
    return Found(
        row=row,
        in_slot=in_slot,
        in_handoff=_identity(places.handoff_fd, row.name),
        in_failed=_in_failed(places, row, store_id),
        in_target=target,
        status_ours=row.status_name is not None
        and status.read_id(places.status_fd, row.status_name) == file_id,
        mark=marks.get(file_id),
    )


def _in_failed(places: Places, row: FileRow, store_id: str) -> Identity | None:
    if row.retry_target is None:
        return None
    return failed.find(places, row.retry_target, f"{store_id}-{row.retry_of}", row.identity)


def _identity(dir_fd: int, name: str) -> Identity | None:
    try:
        return Identity.from_stat(os.stat(name, dir_fd=dir_fd, follow_symlinks=False))
    except OSError:
        return None
