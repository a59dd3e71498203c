"""
`files explain`: what would happen to a file, without touching it.
"""

from __future__ import annotations

import enum
import fnmatch
import hashlib
import itertools
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from conductor_loop import clock
from conductor_loop.app.parts import own_folders, paths_of, processor_of, validator_of
from conductor_loop.app.writers import writers_of
from conductor_loop.config import Config
from conductor_loop.errors import NotFoundError, PermissionDeniedError, StoreError
from conductor_loop.intake import mounts
from conductor_loop.intake.names import NEVER_TAKEN, NameFilter
from conductor_loop.intake.settle import Candidate, Settler
from conductor_loop.ledger import lease
from conductor_loop.ledger.places import in_slot
from conductor_loop.model import FoundBy, Identity, display_name
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.store import inspection
from conductor_loop.work.command import CommandProcessor
from conductor_loop.work.explain import Call, Judgement, call, judge
from conductor_loop.work.process import Abort
from conductor_loop.work.processor import File

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_STORE_SECONDS = 5.0
_UNKNOWN_ID = "<id>"
Pauses = Mapping[str, Mapping[str, str]]  #: reason -> since, message
_ENTRIES = {
    stat.S_IFREG: "regular file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class Fate(enum.StrEnum):
    """
    What would become of a file.
    """

    RUN = "run"
    REJECTED = "rejected"
    IGNORED = "ignored"
    BLOCKED = "blocked"  #: it is acceptable and waits: intake is paused, or the command cannot be started


@dataclass(frozen=True, slots=True)
class Settling:
    """
    Whether a file would be taken now.
    """

    seconds: float  #: that it must stay unchanged for yet
    writers: Sequence[str]  #: who has it open for writing, of those that we can see
    written: bool | None  #: whether anybody has; None: the kernel does not tell us


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """
    What would happen to a file.
    """

    path: str
    name: str
    entry: str  #: what kind of entry it is
    dropped: bool  #: it lies in the handoff directory
    ignored: Sequence[str] = ()  #: why it would not be taken
    settling: Settling | None = None  #: None where it does not lie in the handoff directory, or is ignored
    judgement: Judgement | None = None
    final_in: float = 0.0  #: seconds until a rejection is final
    call: Call | None = None  #: None where it would not be run, and for a Python handler
    paused: Pauses = field(default_factory=dict)

    @property
    def fate(self) -> Fate:
        if self.ignored:
            return Fate.IGNORED
        if self.judgement is not None and self.judgement.rejection is not None:
            return Fate.REJECTED
        return Fate.BLOCKED if self.paused or (self.call is not None and self.call.problem) else Fate.RUN


def explain(config: Config, path: Path, *, paused: Callable[[], Pauses] = dict) -> Explanation:
    """
    Say what would happen to what is at `path` if it lies in the handoff directory or were put there.

    Args:
        paused: returns why intake stands still; asked only of a file that would be taken otherwise.

    Raises:
        NotFoundError: there is nothing.
        PermissionDeniedError: we may not read it.
        ConfigError: the schema cannot be used.
    """
    path = path.absolute()
    name, found = path.name, _look(path)
    dropped = _same(path.parent, config.agent.handoff_dir)
    entry = _ENTRIES.get(stat.S_IFMT(found.st_mode), "something else")
    ignored = [*_name_refusals(config, name), *_entry_refusals(entry)]
    if ignored:
        return Explanation(path=str(path), name=name, entry=entry, dropped=dropped, ignored=ignored)
    data = _read(path, config.validation.max_bytes + 1)
    judgement = judge(name, data, validator_of(config), reject_after=config.agent.reject_after)
    return Explanation(
        path=str(path),
        name=name,
        entry=entry,
        dropped=dropped,
        settling=_settling(config, path, found) if dropped else None,
        judgement=judgement,
        final_in=max(0.0, judgement.final_after - _unchanged_seconds(found))
        if dropped
        else judgement.final_after,
        call=None if judgement.rejection else _call(config, name, data),
        paused=paused(),
    )


def _look(path: Path) -> os.stat_result:
    try:
        return path.lstat()
    except PermissionError as error:
        raise _not_allowed(path) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NotFoundError(f"{display_name(str(path))}: {reason}; name a file that is there") from error


def _not_allowed(path: Path) -> PermissionDeniedError:
    return PermissionDeniedError(
        f"{display_name(str(path))}: this user may not read it; run as its owner or as the agent's user"
    )


def _same(folder: Path, other: Path) -> bool:
    try:
        return folder.samefile(other)
    except OSError:
        return False


def _name_refusals(config: Config, name: str) -> list[str]:
    folders = own_folders(config)
    if NameFilter(config.agent.pattern, folders).accepts(name):
        return []
    shown = display_name(name)
    never = next((pattern for pattern in NEVER_TAKEN if fnmatch.fnmatchcase(name, pattern)), None)
    if never is not None:
        return [f"{shown}: names such as {never} are never taken"]
    if name in folders:
        return [f"{shown}: is the name of a folder of the agent's own"]
    return [f'{shown}: does not match agent.pattern = "{config.agent.pattern}"']


def _entry_refusals(entry: str) -> list[str]:
    regular = _ENTRIES[stat.S_IFREG]
    return [] if entry == regular else [f"a {entry} is never taken, only a {regular} is"]


def _read(path: Path, most: int) -> bytes:
    """
    Return the beginning of a file, leaving its time of last access alone where we may.
    """
    try:
        fd = _open(path)
    except PermissionError as error:
        raise _not_allowed(path) from error
    except OSError as error:
        raise NotFoundError(f"{display_name(str(path))}: {error.strerror}") from error
    with os.fdopen(fd, "rb") as file:
        return file.read(most)


def _open(path: Path) -> int:
    try:
        return os.open(path, _READ | os.O_NOATIME)
    except PermissionError:  # only its owner may ask for that
        return os.open(path, _READ)


def _settling(config: Config, path: Path, found: os.stat_result) -> Settling:
    observe = mounts.is_network(mounts.fstype_of(path.parent))
    settler = Settler(settle=config.agent.settle, observe=observe, writer_has=lambda name: None)
    candidate = Candidate(FoundBy.SCAN, clock.now_us())
    identity = Identity.from_stat(found)
    left = settler.time_left(candidate, identity, now=time.monotonic(), wall_us=clock.now_us())
    writers = writers_of(found)
    return Settling(left, writers, True if writers else _is_written(path))


def _is_written(path: Path) -> bool | None:
    try:
        fd = _open(path)
    except OSError:
        return None
    with os.fdopen(fd, "rb"):
        return lease.writer_has(fd)


def _unchanged_seconds(found: os.stat_result) -> float:
    now = clock.now_us()
    changes = (found.st_ctime_ns // 1000, found.st_mtime_ns // 1000)
    return (now - max((moment for moment in changes if moment <= now), default=0)) / clock.SECOND


def _call(config: Config, name: str, data: bytes) -> Call | None:
    if config.processor.kind != "command":
        return None  # importing the handler would run its module
    slots = config.agent.work_dir / config.agent.name
    with closing(Abort()) as abort:
        file = File(
            path=paths_of(config).work / in_slot(config.agent.name, _free_slot(slots), name),
            name=name,
            id=_next_id(config.agent.state_dir),
            attempt=1,
            sha256=hashlib.sha256(data).hexdigest(),
            data=None,
            deadline=Deadline.after(config.processor.timeout),
        )
        return call(cast("CommandProcessor", processor_of(config, abort)), file)


def _free_slot(slots: Path) -> int:
    """
    Return the slot that would be taken next, as far as can be seen.
    """
    try:
        taken = {path.parent.name for path in slots.glob("[0-9]*/*")}
    except PermissionError:  # not for us to see; it is a guess in any case
        taken = set()
    return next(slot for slot in itertools.count() if str(slot) not in taken)


def _next_id(state_dir: Path) -> str:
    try:
        return inspection.next_id(state_dir, _STORE_SECONDS)
    except (StoreError, OSError):  # none yet, or not for us
        return _UNKNOWN_ID
