"""
The one thread that commits and moves.

Each turn: take what is queued, enter it on a page, commit the page, then do the moves that the commit allows.
Batches form by themselves under load.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from conductor_loop import clock
from conductor_loop.errors import CorruptStoreError, StoreError
from conductor_loop.ledger.admission import Admission, Offer
from conductor_loop.ledger.book import Book, Note
from conductor_loop.ledger.claims import Claims
from conductor_loop.ledger.endings import Endings
from conductor_loop.ledger.entry import Entry
from conductor_loop.ledger.filing import Filing
from conductor_loop.ledger.page import Page
from conductor_loop.ledger.pauses import ChangePause, Pauses, SetPause
from conductor_loop.ledger.places import Places
from conductor_loop.ledger.reconcile import Reconciler
from conductor_loop.ledger.request import Answer, Request, served
from conductor_loop.ledger.retries import Retried, Retries, Retry
from conductor_loop.ledger.stuck import Stuck
from conductor_loop.ledger.syncer import Synced, Syncer, sync
from conductor_loop.ledger.terms import Terms
from conductor_loop.ledger.timers import Timers
from conductor_loop.ledger.waiting import Waiting
from conductor_loop.metrics.live import Live
from conductor_loop.metrics.snapshot import Pause
from conductor_loop.model import Author, Filed, PauseReason, Report, Sample
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.runtime.mailbox import Mailbox
from conductor_loop.runtime.service import OnCrash, ThreadService
from conductor_loop.store.changes import FiledRow
from conductor_loop.store.queries import Reader
from conductor_loop.store.writer import Writer

log = logging.getLogger(__name__)

_IDLE = 1.0  #: seconds that a turn waits for a message at most
_FLUSH = 1.0  #: seconds between two looks for filed files that want their mark
_COMMIT_AGAIN = 0.5  #: seconds until a commit that failed is tried again
_LAST_COMMIT = (
    3.0  #: seconds before the end of a stop after which none is tried: it may wait for a lock so long
)


class Reopen(Request[None]):
    """
    The message that there is another handoff directory: open its places, and claim new files there from now on.
    """

    def __init__(self) -> None:
        super().__init__("the new handoff directory")


class Wake:
    """
    The message that says nothing but ends a wait.
    """


class Ledger(ThreadService):
    """
    Owns the writing connection and every move of a file.

    Args:
        writer: of the store.
        reader: of the store, for files that have ended.
        book: the durable counters as the store has them, and no open files yet.
        places: where files are claimed and filed.
        live: shown only what is durable.
        author: what status files say of the agent.
        announce: told of filed files; must return at once.
        look_ahead: files claimed and ready to run at most.
        max_waiting: files waiting for another attempt at most.
        scan_interval: seconds between two checks of the conservation law.
        restore: the recovery, entered on the first page, before anything else.
    """

    def __init__(
        self,
        *,
        writer: Writer,
        reader: Reader,
        book: Book,
        places: Places,
        live: Live,
        author: Author,
        announce: Callable[[Sequence[Filed]], None],
        look_ahead: int,
        max_waiting: int,
        scan_interval: float,
        restore: Callable[[Ledger, Page], None],
    ) -> None:
        super().__init__("ledger", self._loop, wake=lambda: self.post(Wake()))
        self._writer = writer
        self._live = live
        self._terms = Terms(author, look_ahead, max_waiting, scan_interval)
        self._restore = restore
        self._mailbox: Mailbox[Any] = Mailbox()
        self._restored: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._give_up: Deadline | None = None
        self._old_places: list[Places] = []
        self._timers = Timers()
        self.book = book
        self.admission = Admission(look_ahead=look_ahead, live=live, post=self.post)
        self.pauses = Pauses(admission=self.admission, live=live)
        self.stuck = stuck = Stuck(live=live, pauses=self.pauses, most=look_ahead)
        self.filing = Filing(book=book, timers=self._timers, stuck=stuck, author=author, announce=announce)
        self.claims = Claims(
            book=book,
            places=places,
            admission=self.admission,
            timers=self._timers,
            pauses=self.pauses,
            stuck=stuck,
            on_vanished=self._vanished,
        )
        self._waiting = Waiting(timers=self._timers, pauses=self.pauses)
        self.endings = Endings(
            book=book,
            claims=self.claims,
            filing=self.filing,
            waiting=self._waiting,
            pauses=self.pauses,
            admission=self.admission,
            live=live,
            max_waiting=max_waiting,
        )
        self._retries = Retries(
            book=book, claims=self.claims, admission=self.admission, pauses=self.pauses, reader=reader
        )
        self._reconciler = Reconciler(book=book, live=live)
        self._syncer = Syncer(post=self.post)
        self._handlers: dict[type, Callable[[Any, Page], None]] = {
            Offer: self.claims.handle,
            Report: self.endings.handle,
            SetPause: self.pauses.handle,
            Synced: self._mark_filed,
            Reopen: served(self._reopen),
            Retry: served(self._retries.handle),
            ChangePause: served(self.pauses.change),
            Sample: lambda sample, page: page.changes.samples.append(sample),
            Note: served(book.note),
            Terms: self._take_over,
            Wake: lambda message, page: None,
        }

    def post(self, message: object) -> None:
        """
        Put a message before the ledger; returns at once, callable from any thread.
        """
        self._mailbox.put(message)

    def set_pause(self, reason: PauseReason, message: str | None) -> None:
        """
        Ask for a pause, or with None for its end; returns at once.
        """
        self.post(SetPause(reason, message))

    def change_pause(
        self, reason: PauseReason, message: str | None, *, timeout: float = 10.0
    ) -> Pause | None:
        """
        Pause, or with None for `message` lift a pause, and return once that is durable; callable from any thread.

        Args:
            timeout: seconds.

        Returns:
            How the reason stood before; None if it did not.

        Raises:
            BusyError: the ledger did not come to it in time, and will not do it.
            StoreError: it is done once the store can be written.
        """
        return self._ask(ChangePause(reason, message), timeout)

    def retry(self, number: int, *, dry_run: bool = False, timeout: float = 10.0) -> Retried:
        """
        Try a failed or rejected file again, as a new file; callable from any thread.

        Args:
            dry_run: say what would be done and do nothing.
            timeout: seconds.

        Raises:
            NotFoundError: there is no such file.
            ConflictError: this one cannot be tried again as things are.
            BusyError: not now; ask again in a second.
            StoreError: the store cannot be read, or the retry waits for it.
        """
        return self._ask(Retry(number, dry_run=dry_run), timeout)

    def reopen(self, timeout: float) -> None:
        """
        Open what is at the paths of the places now, and claim new files there; callable from any thread.

        Args:
            timeout: seconds.

        Raises:
            ConductorError: why that cannot be done, or not now.
        """
        self._ask(Reopen(), timeout)

    @property
    def waiting(self) -> int:
        """
        How many claimed files wait: for another attempt, for a missing command, for their writer.
        """
        return len(self._waiting)

    def in_hand(self) -> int:
        """
        Return how many claimed files are neither filed nor waiting: queued, being run or ended; any thread may ask.
        """
        claimed = len(self.book)  # first, so that who begins to wait meanwhile was counted
        return max(0, claimed - len(self._waiting))

    def configure(self, *, author: Author, look_ahead: int, max_waiting: int, scan_interval: float) -> None:
        """
        Replace what may change while it runs; returns at once, callable from any thread.
        """
        self.post(Terms(author, look_ahead, max_waiting, scan_interval))

    def idle(self) -> bool:
        """
        Tell whether every claimed file is filed.
        """
        return self._mailbox.empty and not len(self.book)

    def close_places(self) -> None:
        """
        Close the directories in use and those before them, once the ledger has ended.
        """
        for places in [self.claims.places, *self._old_places]:
            places.close()

    def start(self, on_crash: OnCrash) -> None:
        """
        Start, and return when recovery is done.
        """
        self._syncer.start(on_crash)
        super().start(on_crash)
        failure = self._restored.get()
        if failure is not None:
            raise failure

    def join(self, deadline: Deadline) -> bool:
        """
        Wait until everything reported is durable and filed; an unwritable store is given up at the deadline.
        """
        self._give_up = deadline
        ended = super().join(deadline)
        self._syncer.request_stop()
        return self._syncer.join(deadline) and ended

    def _ask(self, request: Request[Answer], timeout: float) -> Answer:
        self.post(request)
        return request.wait(timeout, lambda: self.alive)

    def _loop(self, stop: threading.Event) -> None:
        try:
            self._turn([], first=self._restore)
        except BaseException as error:
            self._restored.put(error)
            raise
        self._restored.put(None)
        self._timers.after(_FLUSH, self._flush)
        self._timers.after(0, partial(self._reconcile, self._terms))
        try:
            while not (stop.is_set() and self._mailbox.empty and self._timers.wait(_IDLE)):
                self._turn(self._mailbox.take(self._timers.wait(_IDLE)))
            self._finish()
        finally:
            self._writer.close()

    def _turn(self, messages: list[Any], *, first: Callable[[Ledger, Page], None] | None = None) -> None:
        page = Page()
        if first is not None:
            first(self, page)
        for message in messages:
            self._handlers[type(message)](message, page)
        self._timers.run_due(page)
        if page.changes:
            self._commit(page)
        elif not messages:
            self._tidy()
        for action in page.after:
            action()
        self.filing.announce()

    def _commit(self, page: Page) -> None:
        """
        Write the page, however long it takes: nothing may be done, shown or forgotten before.
        """
        while True:
            began = time.monotonic()
            try:
                self._writer.commit(page.changes)
            except CorruptStoreError:
                raise
            except StoreError as error:
                self._refused(error)
            else:
                break
        self.pauses.lift(PauseReason.STORE)
        self._live.publish(page.changes.totals, page.finished, time.monotonic() - began)

    def _refused(self, error: StoreError) -> None:
        self._live.store_error()
        self.pauses.set(PauseReason.STORE, str(error))
        if self._give_up is not None and self._give_up.remaining() <= _LAST_COMMIT:
            log.error("stopping with outcomes that could not be written; those files run again")
            raise error
        # Not the stop event: once that is set, waiting on it would spin.
        threading.Event().wait(_COMMIT_AGAIN)

    def _tidy(self) -> None:
        with contextlib.suppress(StoreError):  # the next commit meets the same and says so
            self._writer.idle()

    def _vanished(self, entry: Entry, page: Page) -> None:
        self.endings.vanished(entry, page)

    def _flush(self, page: Page) -> None:
        entries = self.book.take_to_flush()
        if entries:
            self._syncer.request(entries)
        self._timers.after(_FLUSH, self._flush)

    def _mark_filed(self, synced: Synced, page: Page) -> None:
        now = clock.now_us()
        page.changes.filed.extend(FiledRow(number=entry.number, filed_at=now) for entry in synced.entries)
        page.after.append(partial(self.book.marked, synced.entries))

    def _take_over(self, terms: Terms, page: Page) -> None:
        self._terms = terms
        self.filing.author = terms.author
        self.admission.resize(terms.look_ahead)
        self.stuck.resize(terms.look_ahead)
        self.endings.resize(terms.max_waiting)
        self._timers.after(terms.scan_interval, partial(self._reconcile, terms))

    def _reconcile(self, terms: Terms, page: Page) -> None:
        if terms is not self._terms:
            return  # others hold by now, and have a timer of their own
        self._timers.after(terms.scan_interval, partial(self._reconcile, terms))
        page.after.append(lambda: self._reconciler.check([self.claims.places, *self._old_places]))
        page.after.append(self._close_old)

    def _reopen(self, reopen: Reopen, page: Page) -> None:
        successor = self.claims.places.successor()
        self._old_places.append(self.claims.places)
        self.claims.places = successor
        reopen.answer(None)

    def _close_old(self) -> None:
        in_use = {id(entry.places) for entry in [*self.book, *self.book.unmarked()]}
        for places in [old for old in self._old_places if id(old) not in in_use]:
            self._old_places.remove(places)
            places.close()

    def _finish(self) -> None:
        """
        Close the rows of everything filed, so that the next start has nothing to look for.
        """
        if len(self.book):
            log.info("%d claimed files stay for the next start", len(self.book))
        entries = self.book.unmarked()
        if entries and sync(entries):
            page = Page()
            self._mark_filed(Synced(entries), page)
            self._commit(page)
