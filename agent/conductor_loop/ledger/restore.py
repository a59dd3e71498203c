"""
Carries out the recovery's plan through the ledger's own steps.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from conductor_loop import clock
from conductor_loop.ledger import failed, moves
from conductor_loop.ledger.entry import Ending, Entry
from conductor_loop.ledger.ledger import Ledger
from conductor_loop.ledger.page import Page
from conductor_loop.ledger.recovery import Action, Adopt, Claim, Close, File, Poison, Resume, Vanish
from conductor_loop.model import Cause, Kind, Outcome, display_name
from conductor_loop.store.changes import InterruptionRow, WaitRow
from conductor_loop.store.queries import FileRow

log = logging.getLogger(__name__)

_SAID = 20  #: files that recovery says in the log what it does with


class Restorer:
    """
    Enters a plan on the first page.

    Args:
        actions: the plan.
        outputs: output of the last attempt of files that are still to be filed, by number, for their error logs.
        first_starts: moments at which files that have run were first started, by number.
        max_delay: seconds that a file waits for its next attempt at most; a later moment is a clock that was wrong.
        done: called when the page is durable: only then may the running marks be forgotten.
    """

    def __init__(
        self,
        actions: Sequence[Action],
        *,
        outputs: Mapping[int, bytes],
        first_starts: Mapping[int, int],
        max_delay: float,
        done: Callable[[], None],
    ) -> None:
        self._actions = actions
        self._outputs = outputs
        self._first_starts = first_starts
        self._max_delay = max_delay
        self._done = done
        self._steps: dict[type, Callable[[Ledger, Any, Page], None]] = {
            Resume: self._resume,
            Poison: self._poison,
            Claim: self._claim,
            Vanish: self._vanish,
            File: self._file,
            Close: self._close,
            Adopt: self._adopt,
        }

    def __call__(self, ledger: Ledger, page: Page) -> None:
        """
        Enter everything; the moves follow the commit.
        """
        # Slots first: a new claim made below must not get one that is in use.
        for action in self._actions:
            _hold(ledger, action)
        for action in self._actions[:_SAID]:
            log.info("recovery: %s", action.describe())
        if len(self._actions) > _SAID:
            log.info("recovery: and so on, %d files in all", len(self._actions))
        for action in self._actions:
            self._steps[type(action)](ledger, action, page)
        page.after.append(self._done)

    def _resume(self, ledger: Ledger, action: Resume, page: Page) -> None:
        entry = self._moved(ledger, action.row, page)
        _cut_off(entry, action, page)
        if action.interruptions != action.row.interruptions:
            page.changes.waits.append(
                WaitRow(
                    number=entry.number,
                    attempts=entry.attempts,
                    interruptions=entry.interruptions,
                    next_attempt_at=action.row.next_attempt_at,
                )
            )
        if action.twice:
            page.after.append(partial(_remove_second_name, entry))
        if action.row.next_attempt_at is None:
            page.after.append(partial(ledger.claims.queue, entry))
        else:
            delay = (action.row.next_attempt_at - clock.now_us()) / clock.SECOND
            ledger.endings.wait(entry, min(max(delay, 0.0), self._max_delay))

    def _poison(self, ledger: Ledger, action: Poison, page: Page) -> None:
        entry = self._moved(ledger, action.row, page)
        _cut_off(entry, action, page)
        ledger.endings.poisoned(entry, page)

    def _claim(self, ledger: Ledger, action: Claim, page: Page) -> None:
        page.after.append(partial(ledger.claims.carry_out, self._entry(ledger, action.row)))

    def _vanish(self, ledger: Ledger, action: Vanish, page: Page) -> None:
        ledger.endings.vanished(self._entry(ledger, action.row), page)

    def _file(self, ledger: Ledger, action: File, page: Page) -> None:
        entry = self._moved(ledger, action.row, page)
        entry.ending = self._ending(action.row)
        if action.undone:
            page.after.append(partial(_back_into_slot, entry))
        page.after.append(partial(ledger.filing.file, entry))

    def _close(self, ledger: Ledger, action: Close, page: Page) -> None:
        entry = self._moved(ledger, action.row, page)
        entry.ending = self._ending(action.row)
        if action.rewrite_status:
            page.after.append(partial(ledger.filing.complete, entry))
            return
        # Not marked at once: the dead agent may have moved it a moment ago, and only a flush makes that last.
        ledger.book.filed(entry)
        entry.release()

    def _adopt(self, ledger: Ledger, action: Adopt, page: Page) -> None:
        stray = action.stray
        number = ledger.book.next_number(page)
        now = clock.now_us()
        ledger.claims.adopt(
            Entry(
                number=number,
                id=ledger.book.id(number),
                name=stray.name,
                places=ledger.claims.places,
                agent=stray.agent,
                slot=stray.slot,
                identity=stray.identity,
                discovered_at=now,
                claimed_at=now,
            ),
            page,
        )

    def _entry(self, ledger: Ledger, row: FileRow) -> Entry:
        entry = Entry(
            number=row.number,
            id=ledger.book.id(row.number),
            name=row.name,
            places=ledger.claims.places,
            agent=row.agent,
            slot=row.slot,
            identity=row.identity,
            discovered_at=row.discovered_at,
            claimed_at=row.claimed_at,
            attempts=row.attempts,
            interruptions=row.interruptions,
            first_started_at=self._first_starts.get(row.number),
            retry_of=row.retry_of,
            retry_target=row.retry_target or "",
        )
        ledger.book.add(entry)
        return entry

    def _moved(self, ledger: Ledger, row: FileRow, page: Page) -> Entry:
        """
        Enter a file whose claim was carried out; with a retry a crash may have left what the next step removes.
        """
        entry = self._entry(ledger, row)
        if entry.retry_of is not None:
            old = ledger.book.id(entry.retry_of)
            page.after.append(partial(failed.remove_error_log, entry.places, entry.retry_target, old))
        return entry

    def _ending(self, row: FileRow) -> Ending:
        return Ending(
            outcome=Outcome(row.outcome or ""),
            kind=_known(row.kind),
            message=row.message or "",
            finished_at=row.finished_at or row.claimed_at,
            attempts=row.attempts,
            exit_code=row.exit_code,
            duration=None if row.duration_us is None else row.duration_us / clock.SECOND,
            sha256=row.sha256 or "",
            output=self._outputs.get(row.number, b""),
            target=row.target or "",
            status_name=row.status_name or "",
        )


def _cut_off(entry: Entry, action: Resume | Poison, page: Page) -> None:
    """
    Enter that the agent's death cut a run off; done again by a start that follows a recovery cut short, it is the same.
    """
    entry.interruptions = action.interruptions
    if action.cut_off_at is not None:
        entry.started(action.cut_off_at)
        page.changes.interruptions.append(
            InterruptionRow(entry.number, action.cut_off_at, clock.now_us(), Cause.DEATH)
        )


def _known(kind: str | None) -> Kind | None:
    """
    Return a kind; None for one that a newer program has written, for whose sake the start must not fail.
    """
    return Kind(kind) if kind in set(Kind) else None


def _hold(ledger: Ledger, action: Action) -> None:
    places = ledger.claims.places
    where = action.stray if isinstance(action, Adopt) else action.row
    if where.agent == places.agent:
        places.slots.hold(where.slot)


def _remove_second_name(entry: Entry) -> None:
    fd, name = entry.source
    try:
        os.unlink(name, dir_fd=fd)
    except OSError as error:
        log.warning("cannot remove the second name of %s: %s", display_name(entry.name), error)


def _back_into_slot(entry: Entry) -> None:
    try:
        moves.rename_noreplace(*entry.source, entry.places.work_fd, entry.relative)
    except OSError as error:
        log.warning("cannot take %s back: %s", display_name(entry.name), error)
