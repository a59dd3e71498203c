"""
From an offered file to a job in the queue.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from functools import partial

from conductor_loop import clock
from conductor_loop.ledger import failed, moves
from conductor_loop.ledger.admission import Admission, Offer
from conductor_loop.ledger.book import Book
from conductor_loop.ledger.entry import Entry
from conductor_loop.ledger.page import Page
from conductor_loop.ledger.pauses import Pauses
from conductor_loop.ledger.places import Places, exists
from conductor_loop.ledger.stuck import Stuck
from conductor_loop.ledger.timers import Timers
from conductor_loop.metrics import counting
from conductor_loop.model import Arrival, FoundBy, PauseReason
from conductor_loop.store.changes import ClaimRow

log = logging.getLogger(__name__)

_NO_SLOT = 5.0  #: seconds that intake pauses when a slot cannot be made
_AGAIN = 1.0  #: seconds until a claim that could not be carried out is tried again

OnVanished = Callable[[Entry, Page], None]


class Claims:
    """
    Takes files out of the handoff directory: row committed first, then renamed, then queued.

    Args:
        places: where new files are claimed.
        on_vanished: told of a file whose rename found nothing.
    """

    def __init__(
        self,
        *,
        book: Book,
        places: Places,
        admission: Admission,
        timers: Timers,
        pauses: Pauses,
        stuck: Stuck,
        on_vanished: OnVanished,
    ) -> None:
        self.places = places
        self._book = book
        self._admission = admission
        self._timers = timers
        self._pauses = pauses
        self._stuck = stuck
        self._on_vanished = on_vanished

    def handle(self, offer: Offer, page: Page) -> None:
        """
        Enter the offered files; they are moved once that is durable.
        """
        if PauseReason.DRAIN in self._pauses:  # offered before intake heard of it
            self._admission.settled([arrival.name for arrival in offer.arrivals])
            return
        entries = [entry for arrival in offer.arrivals if (entry := self._try_to_enter(arrival, page))]
        page.after.append(partial(self._carry_out, entries))

    def enter(
        self, arrival: Arrival, page: Page, *, retry_of: int | None = None, retry_target: str = ""
    ) -> Entry:
        """
        Enter one file; the caller has it moved once that is durable.

        Args:
            retry_of: number of the file that is tried again; None: it is in the handoff directory.
            retry_target: name of that in failed/.

        Raises:
            OSError: if no slot can be made; nothing was entered.
        """
        slot = self.places.slots.take()
        number = self._book.next_number(page)
        entry = Entry(
            number=number,
            id=self._book.id(number),
            name=arrival.name,
            places=self.places,
            agent=self.places.agent,
            slot=slot,
            identity=arrival.identity,
            discovered_at=arrival.discovered_at,
            claimed_at=clock.now_us(),
            retry_of=retry_of,
            retry_target=retry_target,
        )
        self._book.add(entry)
        self._book.count(*counting.discovered_key(arrival.found_by), page)
        page.changes.claims.append(_row(entry, arrival.found_by))
        return entry

    def adopt(self, entry: Entry, page: Page) -> None:
        """
        Enter a file that already lies in a slot.
        """
        self._book.add(entry)
        page.changes.claims.append(_row(entry, FoundBy.RECOVERY))
        self._book.count(*counting.discovered_key(FoundBy.RECOVERY), page)
        page.after.append(partial(self.queue, entry))

    def carry_out(self, entry: Entry) -> None:
        """
        Move one entered file into its slot and queue it.
        """
        self._carry_out([entry])

    def queue(self, entry: Entry) -> None:
        """
        Queue a file that lies in its slot; the worker finds out whether somebody still writes to it.
        """
        self._admission.push(entry.job())

    def give_back(self, entry: Entry) -> None:
        """
        Move a file whose writer may not be done back to where that looks for it; its name stays in hand.

        If another file has the name by now, the first one stays in its slot. So does one that is tried again: its
        writer knows it by its name in failed/.
        """
        if entry.retry_of is not None or not self._admission.try_hold(entry.name):
            return
        places = entry.places
        try:
            moves.rename_noreplace(places.work_fd, entry.relative, places.handoff_fd, entry.name)
        except OSError:
            self._admission.settled([entry.name])

    def resume(self, entry: Entry) -> None:
        """
        Queue a file that was put off, from its slot or from where it was given back to.
        """
        if exists(entry.places.work_fd, entry.relative):
            self.queue(entry)
        else:
            self.carry_out(entry)

    def _try_to_enter(self, arrival: Arrival, page: Page) -> Entry | None:
        try:
            return self.enter(arrival, page)
        except OSError as error:
            self._no_slot(error)
            self._admission.settled([arrival.name])
            return None

    def _no_slot(self, error: OSError) -> None:
        self.places.mend()
        if PauseReason.HANDOFF not in self._pauses:
            self._pauses.set(PauseReason.HANDOFF, f"no slot can be made in {self.places.paths.work}: {error}")
            self._timers.after(_NO_SLOT, lambda page: self._pauses.lift(PauseReason.HANDOFF))

    def _carry_out(self, entries: Sequence[Entry]) -> None:
        moved = [entry for entry in entries if self._move(entry)]
        for entry in moved:
            self._stuck.discard(entry)
            if entry.retry_of is not None:
                failed.remove_error_log(entry.places, entry.retry_target, self._book.id(entry.retry_of))
            self.queue(entry)
        self._settle(moved)

    def _move(self, entry: Entry) -> bool:
        try:
            moves.rename_noreplace(*entry.source, entry.places.work_fd, entry.relative)
        except FileNotFoundError as error:
            if exists(*entry.source):
                self._put_off(entry, error)
            else:
                self._stuck.discard(entry)
                self._settle([entry])
                self._timers.after(0, partial(self._on_vanished, entry))
        except OSError as error:
            self._put_off(entry, error)
        else:
            return True
        return False

    def _put_off(self, entry: Entry, error: OSError) -> None:
        self._stuck.add(entry, "claim", error)
        if entry.retry_of is None:
            self._admission.hold(entry.name)
        entry.places.mend()
        with contextlib.suppress(OSError):  # said above, and tried again with the claim
            entry.places.slots.restore(entry.slot)
        self._timers.after(_AGAIN, lambda page: page.after.append(partial(self.carry_out, entry)))

    def _settle(self, entries: Sequence[Entry]) -> None:
        # A file of the same name in the handoff directory has nothing to do with one that is tried again.
        self._admission.settled([entry.name for entry in entries if entry.retry_of is None])


def _row(entry: Entry, found_by: FoundBy) -> ClaimRow:
    return ClaimRow(
        number=entry.number,
        name=entry.name,
        agent=entry.agent,
        slot=entry.slot,
        identity=entry.identity,
        found_by=found_by,
        discovered_at=entry.discovered_at,
        claimed_at=entry.claimed_at,
        retry_of=entry.retry_of,
    )
