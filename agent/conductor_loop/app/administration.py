"""
What may be asked of an agent from outside, whether one runs or only its directories are there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Protocol

from conductor_loop.app.foundation import lay_foundation
from conductor_loop.app.parts import paths_of
from conductor_loop.config import Config
from conductor_loop.errors import UnreachableError
from conductor_loop.http.administration import AtWork, Draining, Reloaded
from conductor_loop.ledger.candidates import Candidates
from conductor_loop.ledger.ledger import Ledger
from conductor_loop.ledger.locks import Role, this_command
from conductor_loop.ledger.marks import Mark, Marks
from conductor_loop.ledger.retries import Retried, would_be
from conductor_loop.ledger.sight import Sight
from conductor_loop.metrics.live import Live
from conductor_loop.metrics.snapshot import Pause
from conductor_loop.model import ASKED_FOR, PauseReason
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.store import queries
from conductor_loop.store.database import Store
from conductor_loop.store.queries import Reader
from conductor_loop.store.view import View

_READ_SECONDS = 5.0  #: for one question to the history
_MANY = 1_000_000  #: files that may be claimed for the next start
_CLOSING_SECONDS = 30.0  #: for the last commit


class Reload(Protocol):
    """
    Takes the configuration over as it is now.
    """

    def __call__(self, *, dry_run: bool) -> Reloaded: ...


class Administration:
    """
    Answers for a ledger that runs.

    Args:
        reload: rereads the configuration, with `dry_run` only to say what that would change.
        stop: has the agent end; returns at once.
    """

    def __init__(
        self,
        *,
        store: Store,
        ledger: Ledger,
        marks: Marks,
        live: Live,
        reload: Reload,
        stop: Callable[[], None],
    ) -> None:
        self.store_id = store.store_id
        self._store = store
        self._ledger = ledger
        self._marks = marks
        self._live = live
        self._reload = reload
        self._stop = stop

    @property
    def reader(self) -> Reader:
        """
        Of the store.
        """
        return partial(self._store.reader, _READ_SECONDS)

    def at_work(self) -> AtWork:
        """
        Return which files are being worked on.
        """
        return AtWork(
            running={_number(mark): mark.started_at for mark in self._marks.left_behind()},
            held=PauseReason.DRAIN in self.pauses(),
        )

    def retry(self, number: int, *, dry_run: bool) -> Retried:
        """
        Run a failed or rejected file again, as a new one.
        """
        return self._ledger.retry(number, dry_run=dry_run)

    def pause(self, message: str) -> Pause | None:
        """
        Stop taking new files, until `resume`; durable when it returns. Return the pause that stood already.
        """
        return self._ledger.change_pause(PauseReason.OPERATOR, message)

    def resume(self) -> list[PauseReason]:
        """
        End what was paused by somebody; return what stood.
        """
        return [reason for reason in ASKED_FOR if self._ledger.change_pause(reason, None) is not None]

    def pauses(self) -> Mapping[PauseReason, Pause]:
        """
        Return the reasons for which no new files are taken.
        """
        return self._live.snapshot().pauses

    def drain(self) -> Draining:
        """
        Stop taking new files and begin no further attempts; return what is still going on.
        """
        if PauseReason.DRAIN not in self.pauses():
            self._ledger.change_pause(PauseReason.DRAIN, "drained for maintenance")
        snapshot = self._live.snapshot()
        in_hand = self._ledger.in_hand()
        running = min(in_hand, snapshot.active_workers)
        return Draining(running=running, queued=in_hand - running, waiting=self._ledger.waiting)

    def stop(self) -> None:
        """
        Have the agent end.
        """
        self._stop()

    def reload(self, *, dry_run: bool) -> Reloaded:
        """
        Reread the configuration.
        """
        return self._reload(dry_run=dry_run)


class OfflineAdministration:
    """
    Answers for a state directory that no agent uses: read as it is, and taken possession of for a change, which lasts
    until `give_back`.

    Raises:
        StoreError: there is no store, or it cannot be used.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._possession = ExitStack()
        self._view = View(config.agent.state_dir)
        self._owned: Administration | None = None
        self.store_id = self._view.store_id

    @property
    def reader(self) -> Reader:
        return partial(self._view.reader, _READ_SECONDS)

    def at_work(self) -> AtWork:
        return AtWork(running={}, held=True)

    def retry(self, number: int, *, dry_run: bool) -> Retried:
        return self._would_retry(number) if dry_run else self._own().retry(number, dry_run=False)

    def pause(self, message: str) -> Pause | None:
        return self._own().pause(message)

    def resume(self) -> list[PauseReason]:
        return self._own().resume()

    def pauses(self) -> Mapping[PauseReason, Pause]:
        return self._kept_pauses() if self._owned is None else self._owned.pauses()

    def drain(self) -> Draining:
        # What recovery has queued waits for the next start: nothing runs.
        return replace(self._own().drain(), running=0, queued=0)

    def stop(self) -> None:
        raise _no_agent()

    def reload(self, *, dry_run: bool) -> Reloaded:
        raise _no_agent()

    def give_back(self) -> None:
        """
        Let others use the directories; the next change takes them again. Does nothing where nothing is taken.
        """
        self._owned = None
        self._possession.close()

    def _kept_pauses(self) -> dict[PauseReason, Pause]:
        with self._view.reader(_READ_SECONDS) as connection:
            kept = queries.pauses(connection)
        return {reason: Pause(*kept[reason]) for reason in ASKED_FOR if reason in kept}

    def _would_retry(self, number: int) -> Retried:
        pauses = {reason: pause.message for reason, pause in self._kept_pauses().items()}
        candidates = Candidates(
            reader=self.reader, id_of=lambda number: f"{self.store_id}-{number}", pauses=lambda: pauses
        )
        with closing(Sight(paths_of(self._config), agent=self._config.agent.name)) as places:
            return would_be(candidates.judge(number, places))

    def _own(self) -> Administration:
        if self._owned is None:
            with ExitStack() as stack:
                self._owned = self._take(stack)
                self._possession = stack.pop_all()
        return self._owned

    def _take(self, stack: ExitStack) -> Administration:
        base = lay_foundation(
            self._config,
            this_command(),
            stack,
            role=Role.COMMAND,
            announce=lambda files: None,
            look_ahead=_MANY,
        )
        base.ledger.start(_crashed)
        stack.callback(_end, base.ledger)
        self.store_id = base.store.store_id
        return Administration(
            store=base.store,
            ledger=base.ledger,
            marks=base.marks,
            live=base.live,
            reload=self.reload,
            stop=self.stop,
        )


def _number(mark: Mark) -> int:
    return int(mark.id.rpartition("-")[2])


def _end(ledger: Ledger) -> None:
    ledger.request_stop()
    ledger.join(Deadline.after(_CLOSING_SECONDS))


def _crashed(name: str, error: BaseException) -> None:
    """
    Nothing to do: whoever asked the ledger is told that it does not answer, and the log has the traceback.
    """


def _no_agent() -> UnreachableError:
    return UnreachableError("no agent runs; start it with `conductor-loop run`")
