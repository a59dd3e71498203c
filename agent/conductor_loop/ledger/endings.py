"""
What becomes of a file after a worker's report.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from conductor_loop import clock
from conductor_loop.ledger.admission import Admission
from conductor_loop.ledger.book import Book
from conductor_loop.ledger.claims import Claims
from conductor_loop.ledger.entry import Ending, Entry
from conductor_loop.ledger.filing import Filing
from conductor_loop.ledger.page import Page
from conductor_loop.ledger.pauses import Pauses
from conductor_loop.ledger.waiting import Waiting
from conductor_loop.metrics import counting
from conductor_loop.metrics.live import Live
from conductor_loop.model import (
    Again,
    Blocked,
    Cause,
    Failed,
    Interrupted,
    Kind,
    Outcome,
    PauseReason,
    Rejected,
    Report,
    Succeeded,
    Unsettled,
    display_name,
)
from conductor_loop.store.changes import AttemptRow, IdentityRow, InterruptionRow, WaitRow
from conductor_loop.store.encoding import clean_text

log = logging.getLogger(__name__)

_BLOCKED_AGAIN = 5.0  #: seconds until a file that met a missing command or a full disk is tried again
_NO_PLACE = 0.2  #: seconds until a file due for another attempt looks again for a place in the queue
_ENOUGH = 0.9  #: of `max_waiting`: below it intake goes on


class Endings:
    """
    Turns reports into rows: the end, another attempt later, or nothing counted at all.

    Args:
        max_waiting: files that may wait for another attempt; beyond it intake pauses.
    """

    def __init__(
        self,
        *,
        book: Book,
        claims: Claims,
        filing: Filing,
        waiting: Waiting,
        pauses: Pauses,
        admission: Admission,
        live: Live,
        max_waiting: int,
    ) -> None:
        self._book = book
        self._claims = claims
        self._filing = filing
        self._waiting = waiting
        self._pauses = pauses
        self._admission = admission
        self._live = live
        self._max_waiting = max_waiting
        self._again_later = 0  # files that wait for another attempt; others wait for other things
        self._without_command: set[int] = set()  # numbers of the files that will find out when it is mended
        self._verdicts: dict[type, Callable[[Entry, Report, Any, Page], None]] = {
            Succeeded: self._succeeded,
            Failed: self._failed,
            Rejected: self._rejected,
            Again: self._again,
            Unsettled: self._unsettled,
            Blocked: self._blocked,
            Interrupted: self._interrupted,
        }

    def resize(self, max_waiting: int) -> None:
        """
        Replace how many files may wait for another attempt.
        """
        self._max_waiting = max_waiting
        self._wait_count(0)

    def handle(self, report: Report, page: Page) -> None:
        """
        Enter what a worker says of a file.
        """
        entry = self._book[report.job.number]
        if report.identity is not None and not report.identity.same_file(entry.identity):
            # Another version came between settling and the claim, or its writer went on: the row follows.
            entry.identity = report.identity
            page.changes.identities.append(IdentityRow(number=entry.number, identity=report.identity))
        if report.run is not None:
            entry.started(report.run.started_at)
            self._pauses.lift(PauseReason.COMMAND)  # for here it ran
        if not isinstance(report.verdict, Blocked):
            self._unblocked(entry)
        self._verdicts[type(report.verdict)](entry, report, report.verdict, page)

    def vanished(self, entry: Entry, page: Page) -> None:
        """
        Enter that the claim's rename found nothing.
        """
        where = "the handoff directory" if entry.retry_of is None else "failed/"
        message = f"gone from {where} before it could be claimed"
        self._end(entry, Outcome.VANISHED, Kind.VANISHED, message, page)

    def poisoned(self, entry: Entry, page: Page) -> None:
        """
        Enter that the agent died too often while it ran this file.
        """
        message = f"the agent died {entry.interruptions} times in a row while this file was running"
        self._end(entry, Outcome.FAILED, Kind.POISON, message, page)

    def wait(self, entry: Entry, delay: float) -> None:
        """
        Queue an entered file for another attempt in `delay` seconds.
        """
        self._wait_count(+1)
        self._waiting.add(entry, delay, partial(self._queue_again, entry))

    def _succeeded(self, entry: Entry, report: Report, verdict: Succeeded, page: Page) -> None:
        took = 0.0 if report.run is None else report.run.duration
        message = verdict.message or f"Processed in {clock.duration_text(took)}"
        self._end(entry, Outcome.PROCESSED, None, message, page, report=report)

    def _failed(self, entry: Entry, report: Report, verdict: Failed, page: Page) -> None:
        if verdict.kind is Kind.TIMEOUT:
            self._book.count(*counting.TIMEOUTS, page)
        self._end(entry, Outcome.FAILED, verdict.kind, verdict.message, page, report=report)

    def _rejected(self, entry: Entry, report: Report, verdict: Rejected, page: Page) -> None:
        self._end(entry, Outcome.REJECTED, verdict.kind, verdict.message, page, report=report)

    def _again(self, entry: Entry, report: Report, verdict: Again, page: Page) -> None:
        self._add_attempt(entry, report, verdict.kind, verdict.message, page)
        self._book.count(*counting.RETRIES, page)
        if verdict.kind is Kind.TIMEOUT:
            self._book.count(*counting.TIMEOUTS, page)
        page.changes.waits.append(
            WaitRow(
                number=entry.number,
                attempts=entry.attempts,
                interruptions=0,
                next_attempt_at=clock.now_us() + round(verdict.delay * clock.SECOND),
            )
        )
        log.warning(
            "%s (%s) attempt %d: %s: %s; again in %.1fs",
            display_name(entry.name),
            entry.id,
            entry.attempts,
            verdict.kind,
            display_name(verdict.message),
            verdict.delay,
        )
        self.wait(entry, verdict.delay)

    def _unsettled(self, entry: Entry, report: Report, verdict: Unsettled, page: Page) -> None:
        if verdict.give_back:
            page.after.append(partial(self._claims.give_back, entry))
        self._waiting.add(entry, verdict.delay, partial(self._claims.resume, entry))

    def _blocked(self, entry: Entry, report: Report, verdict: Blocked, page: Page) -> None:
        self._pauses.set(verdict.reason, verdict.message)
        if verdict.reason is PauseReason.COMMAND:
            self._without_command.add(entry.number)
        self._waiting.add(entry, _BLOCKED_AGAIN, partial(self._claims.queue, entry))

    def _unblocked(self, entry: Entry) -> None:
        if entry.number in self._without_command:
            self._without_command.discard(entry.number)
            if not self._without_command:
                self._pauses.lift(PauseReason.COMMAND)  # which nobody would ever do but them

    def _interrupted(self, entry: Entry, report: Report, verdict: Interrupted, page: Page) -> None:
        if report.run is not None:
            row = InterruptionRow(entry.number, report.run.started_at, report.finished_at, Cause.STOP)
            page.changes.interruptions.append(row)
        log.info("%s (%s) was interrupted; the next start runs it again", display_name(entry.name), entry.id)

    def _end(
        self,
        entry: Entry,
        outcome: Outcome,
        kind: Kind | None,
        message: str,
        page: Page,
        *,
        report: Report | None = None,
    ) -> None:
        message = clean_text(message) or ""  # an exception may say what neither files nor the store can hold
        run = None if report is None else report.run
        if report is not None and run is not None:
            self._add_attempt(entry, report, kind, message, page)
        ending = Ending(
            outcome=outcome,
            kind=kind,
            message=message,
            finished_at=clock.now_us() if report is None else report.finished_at,
            attempts=entry.attempts,
            exit_code=None if run is None else run.exit_code,
            duration=None if run is None else run.duration,
            sha256="" if report is None else report.sha256,
            output=b"" if run is None else run.output,
            author=None if report is None else report.author,
        )
        self._filing.end(entry, ending, page, wait=_wait_seconds(entry))

    def _add_attempt(self, entry: Entry, report: Report, kind: Kind | None, message: str, page: Page) -> None:
        entry.attempts += 1
        entry.interruptions = 0
        run = report.run
        if run is None:
            return
        page.changes.attempts.append(
            AttemptRow(
                number=entry.number,
                attempt=entry.attempts,
                started_at=run.started_at,
                duration_us=round(run.duration * clock.SECOND),
                exit_code=run.exit_code,
                signal=run.signal,
                kind=kind,
                message=message,
                output=run.output,
                output_bytes=run.output_bytes,
                survivors=run.survivors,
            )
        )

    def _queue_again(self, entry: Entry) -> None:
        if self._admission.room_again() > 0:
            self._wait_count(-1)
            self._claims.queue(entry)
        else:
            self._waiting.add(entry, _NO_PLACE, partial(self._queue_again, entry))

    def _wait_count(self, change: int) -> None:
        self._again_later += change
        self._live.set(retry_waiting=self._again_later)
        if self._again_later > self._max_waiting:
            message = f"{self._again_later} files wait for another attempt; retry.max_waiting is {self._max_waiting}"
            self._pauses.set(PauseReason.RETRIES, message)
        elif self._again_later <= self._max_waiting * _ENOUGH:
            self._pauses.lift(PauseReason.RETRIES)


def _wait_seconds(entry: Entry) -> float | None:
    if entry.first_started_at is None:
        return None
    return max(0.0, (entry.first_started_at - entry.discovered_at) / clock.SECOND)
