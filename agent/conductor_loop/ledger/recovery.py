"""
What to do with what an agent left behind: a pure function, so that `doctor` can show it and doing it twice is harmless.
"""

from __future__ import annotations

from dataclasses import dataclass

from conductor_loop.ledger.survey import Facts, Found, Stray
from conductor_loop.model import display_name
from conductor_loop.store.queries import FileRow

INTERRUPTIONS = 3  #: in a row make a file poison


@dataclass(frozen=True, slots=True)
class Resume:
    """
    The file is in its slot: queue it, at once or when its next attempt is due.

    `cut_off_at`: start of the run that the agent's death cut off. `twice`: its claim was cut short between link and unlink, so it still has its name where it was claimed.
    """

    row: FileRow
    interruptions: int
    cut_off_at: int | None = None
    twice: bool = False

    def describe(self) -> str:
        if self.interruptions > self.row.interruptions:
            return f"{_name(self.row)} was running: run it again (interruption {self.interruptions} in a row)"
        return f"{_name(self.row)} is claimed: run it"


@dataclass(frozen=True, slots=True)
class Poison:
    """
    The agent died too often while this file was running. `cut_off_at`: start of the last of these runs.
    """

    row: FileRow
    interruptions: int
    cut_off_at: int | None = None

    def describe(self) -> str:
        return f"{_name(self.row)} was running when the agent died, {self.interruptions} times in a row: file as failed"


@dataclass(frozen=True, slots=True)
class Claim:
    """
    The row is there, the move into the slot is not: do it.
    """

    row: FileRow

    def describe(self) -> str:
        where = "the handoff directory" if self.row.retry_of is None else "failed/"
        return f"{_name(self.row)} is still in {where}: carry out its claim"


@dataclass(frozen=True, slots=True)
class Vanish:
    """
    The file of an open row is nowhere.
    """

    row: FileRow

    def describe(self) -> str:
        return f"{_name(self.row)} is nowhere to be found: enter it as vanished"


@dataclass(frozen=True, slots=True)
class File:
    """
    The outcome is decided, the file is not where it belongs: file it, without running it.

    `undone`: the machine lost power and both moves with it, so it is where it was claimed.
    """

    row: FileRow
    undone: bool = False

    def describe(self) -> str:
        return f"{_name(self.row)} ended as {self.row.outcome}: file it without running it"


@dataclass(frozen=True, slots=True)
class Close:
    """
    The file is filed and its row does not say so yet. `rewrite_status`: its status file is missing or broken.
    """

    row: FileRow
    rewrite_status: bool

    def describe(self) -> str:
        also = " and rewrite its status file" if self.rewrite_status else ""
        return f"{_name(self.row)} is filed: close its row{also}"


@dataclass(frozen=True, slots=True)
class Adopt:
    """
    A file in a slot that no row knows: a new claim.
    """

    stray: Stray

    def describe(self) -> str:
        return f"{display_name(self.stray.relative)} has no row: take it as a new file"


Action = Resume | Poison | Claim | Vanish | File | Close | Adopt


def plan(facts: Facts) -> list[Action]:
    """
    Return what recovery does, files in the order of their claims first, then those without a row.
    """
    actions: list[Action] = [
        _open(found, links=facts.links) if found.row.outcome is None else _ended(found)
        for found in facts.rows
    ]
    actions.extend(Adopt(stray) for stray in facts.strays)
    return actions


def _open(found: Found, *, links: bool) -> Action:
    row = found.row
    if found.in_slot is not None:
        # The mark tells what the count was before that run, so that a recovery cut short does not count it twice.
        count = row.interruptions if found.mark is None else found.mark.interruptions + 1
        cut_off_at = None if found.mark is None else found.mark.started_at
        return (
            Poison(row, count, cut_off_at)
            if count >= INTERRUPTIONS
            else Resume(row, count, cut_off_at, links and _half_claimed(found))
        )
    source = found.in_source
    # In failed/ it was looked for as what it is there, a file that somebody may have mended.
    if source is not None and (row.retry_of is not None or source.same_file(row.identity)):
        return Claim(row)
    return Vanish(row)  # and another file under its name in the handoff directory is a new one


def _ended(found: Found) -> Action:
    row = found.row
    if found.in_slot is not None:
        return File(row)
    # By the inode alone: a consumer may have changed the content already, and it is its file by now.
    if found.in_target is not None and found.in_target.ino == row.identity.ino:
        return Close(row, rewrite_status=not found.status_ours)
    # With the ctime as well: power loss takes that back with the moves, somebody who puts the file back sets it.
    if row.target is not None and found.in_source == row.identity:
        return File(row, undone=True)
    # Filed, and a consumer has taken it since. Its status file came before it and may have been taken as well.
    return Close(row, rewrite_status=False)


def _half_claimed(found: Found) -> bool:
    # Only of a file that never ran: of any other its name in the handoff directory is another drop of the same inode.
    return found.in_source == found.in_slot and found.mark is None and found.row.attempts == 0


def _name(row: FileRow) -> str:
    return f"file {row.number} ({display_name(row.name)})"
