"""
The application on the admin socket: questions about files, and everything that changes something.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import bottle

from conductor_loop import clock
from conductor_loop.errors import BusyError, ConductorError, UsageError
from conductor_loop.http import answer, question
from conductor_loop.http.administration import CHANGES, QUESTIONS, Administration, Reloaded
from conductor_loop.http.answer import Answer
from conductor_loop.http.files import Whereabouts, file_document, file_id, interruption_document, run_document
from conductor_loop.http.guard import Guard
from conductor_loop.http.peer import Peer, as_ourselves, asking, refuse_strangers
from conductor_loop.http.problem import problem
from conductor_loop.ledger.candidates import unknown
from conductor_loop.ledger.places import Paths
from conductor_loop.metrics.snapshot import Pause
from conductor_loop.model import PauseReason, display_name
from conductor_loop.store import queries
from conductor_loop.store.failures import QueryTimeoutError
from conductor_loop.store.queries import FileRow, Related
from conductor_loop.store.search import search

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024
_LONGEST_MESSAGE = 1000  # characters


def make_admin_app(
    *, administration: Administration, paths: Paths, pages: WSGIApplication | None
) -> WSGIApplication:
    """
    Return the application of the admin socket.

    Args:
        administration: what is asked, and does what is asked for.
        paths: of the agent's directories.
        pages: the application of the TCP server, which answers every other question. None where no agent runs: there
            are no such pages then, and requests come from this process itself.
    """
    app = bottle.Bottle()
    app.config["catchall"] = False  # as with the TCP server's application
    app.default_error_handler = partial(_explain, alone=pages is None)
    asked, changed = _Questions(administration, paths), _Changes(administration)
    answers: dict[str, Callable[..., Answer]] = dict(
        zip(QUESTIONS, (asked.files, asked.file, asked.pauses), strict=True)
    )
    answers |= zip(
        CHANGES,
        (changed.retry, changed.pause, changed.resume, changed.drain, changed.stop, changed.reload),
        strict=True,
    )
    for path, callback in answers.items():
        app.route(path, "POST" if path in CHANGES else "GET", _respond(callback))
    guarded = Guard(_HandedOn(app, pages), refuse=refuse_strangers)
    return as_ourselves(guarded) if pages is None else guarded


class _HandedOn:
    """
    Hands on what the first application has no route for.
    """

    def __init__(self, app: bottle.Bottle, pages: WSGIApplication | None) -> None:
        self._app = app
        self._pages = pages

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._choose(environ)(environ, start_response)

    def _choose(self, environ: WSGIEnvironment) -> WSGIApplication:
        if environ["REQUEST_METHOD"] in {"GET", "HEAD"} and self._pages is not None:
            try:
                self._app.match(environ)
            except bottle.HTTPError as error:
                if error.status_code == 404:  # noqa: PLR2004 - not found
                    # Who may use this socket is known otherwise than by the name that was asked.
                    environ["HTTP_HOST"] = "localhost"
                    return self._pages
        app: WSGIApplication = self._app
        return app


class _Questions:
    def __init__(self, administration: Administration, paths: Paths) -> None:
        self._administration = administration
        self._paths = paths

    def files(self) -> Answer:
        store_id = self._administration.store_id
        asked = question.FilesQuestion(bottle.request.query_string, store_id=store_id)
        try:
            with self._administration.reader() as connection:
                # One more than asked for tells whether there is another page.
                rows = search(connection, asked.filter, limit=asked.limit + 1, before=asked.before)
                related = queries.related(connection, rows)
        except QueryTimeoutError as error:
            raise BusyError(
                "the history is too long to find this in time; narrow the question with since or outcome"
            ) from error
        shown = rows[: asked.limit]
        following = file_id(store_id, shown[-1].number) if len(rows) > asked.limit else None
        at_work = self._administration.at_work()
        documents = [
            file_document(row, store_id, related, at_work)
            | ({"path": self._whereabouts(row, related)["path"]} if asked.places else {})
            for row in shown
        ]
        return answer.json({"files": documents, "next": following})

    def file(self, id: str) -> Answer:
        store_id = self._administration.store_id
        number = question.number_of(id, store_id=store_id)
        with self._administration.reader() as connection:
            row = queries.file(connection, number)
            runs = queries.attempts(connection, number)
            cut_off = queries.interruptions(connection, number)
            related = queries.related(connection, [row] if row else [])
        if row is None:
            raise unknown(file_id(store_id, number))
        return answer.json(
            {
                **file_document(row, store_id, related, self._administration.at_work()),
                **self._whereabouts(row, related),
                "runs": [run_document(run) for run in runs],
                "interrupted_runs": [interruption_document(run) for run in cut_off],
            }
        )

    def _whereabouts(self, row: FileRow, related: Related) -> dict[str, Any]:
        where = Whereabouts(self._paths, store_id=self._administration.store_id)
        return where.document(row, retried_as=related.retries.get(row.number))

    def pauses(self) -> Answer:
        return answer.json({"pauses": _pauses_document(self._administration)})


class _Changes:
    def __init__(self, administration: Administration) -> None:
        self._administration = administration

    def retry(self, id: str) -> Answer:
        dry_run = _body(dry_run=bool).get("dry_run", False)
        number = question.number_of(id, store_id=self._administration.store_id)
        with _told(f"retry of file {number}", silent=dry_run) as deed:
            retried = self._administration.retry(number, dry_run=dry_run)
            deed.outcome = f"as {retried.id} ({display_name(retried.name)})"
        return answer.json(
            {
                "id": retried.id,
                "retry_of": file_id(self._administration.store_id, retried.retry_of),
                "name": display_name(retried.name),
                "path": display_name(str(retried.path)),
            }
        )

    def pause(self) -> Answer:
        given = _body(message=str).get("message", "")
        if len(given) > _LONGEST_MESSAGE:
            raise UsageError(
                f"message must have at most {_LONGEST_MESSAGE} characters; this has {len(given)}"
            )
        # Who it was is worth remembering: another administrator may want to end it.
        message = f"{display_name(given)} ({_asking().user})" if given else f"asked for by {_asking().user}"
        with _told(f"pause ({message})") as deed:
            before = self._administration.pause(message)
            if before is not None:
                deed.outcome = f"done, in place of {before.message!r}"
        return answer.json(
            {
                "pauses": _pauses_document(self._administration),
                "before": None if before is None else _pause_document(before),
            }
        )

    def resume(self) -> Answer:
        _body()
        with _told("resume") as deed:
            lifted = self._administration.resume()
            deed.outcome = ", ".join(lifted) or "nothing was paused"
        return answer.json({"lifted": lifted, "pauses": _pauses_document(self._administration)})

    def drain(self) -> Answer:
        _body()
        # Who waits for the end asks every second, which is worth no line.
        with _told("drain", silent=PauseReason.DRAIN in self._administration.pauses()):
            draining = self._administration.drain()
        return answer.json(
            {
                "drained": draining.drained,
                "running": draining.running,
                "queued": draining.queued,
                "waiting": draining.waiting,
                "pauses": _pauses_document(self._administration),
            }
        )

    def stop(self) -> Answer:
        _body()
        with _told("stop"):
            self._administration.stop()
        return answer.json({"stopping": True})

    def reload(self) -> Answer:
        dry_run = _body(dry_run=bool).get("dry_run", False)
        with _told("reload", silent=dry_run) as deed:
            reloaded = self._administration.reload(dry_run=dry_run)
            deed.outcome = "; ".join(_reload_words(reloaded)) or "nothing changed"
        return answer.json(_reload_document(reloaded))


def _pauses_document(administration: Administration) -> dict[str, Any]:
    return {str(reason): _pause_document(pause) for reason, pause in administration.pauses().items()}


def _pause_document(pause: Pause) -> dict[str, str]:
    return {"since": clock.rfc3339(pause.since), "message": pause.message}


@dataclass(slots=True)
class _Deed:
    outcome: str = "done"


@contextmanager
def _told(what: str, *, silent: bool = False) -> Iterator[_Deed]:
    """
    Log what was asked for, what came of it, and who asked.
    """
    deed = _Deed()
    try:
        yield deed
    except BusyError:
        silent = True  # who is told to ask again does so many times
        raise
    except ConductorError as error:
        deed.outcome = f"refused, {display_name(str(error))}"
        raise
    except Exception:  # what it is, the guard logs
        deed.outcome = "broke off"
        raise
    finally:
        if not silent:
            log.info("%s: %s; asked for by %s", what, deed.outcome, _asking())


def _asking() -> Peer:
    return asking(bottle.request.environ)


def _body(**allowed: type) -> dict[str, Any]:
    raw = bottle.request.environ["wsgi.input"].read(MAX_BODY_BYTES + 1)
    if len(raw) > MAX_BODY_BYTES:
        raise UsageError(f"the body has more than {MAX_BODY_BYTES} bytes")
    return question.body(raw, allowed)


def _reload_document(reloaded: Reloaded) -> dict[str, Any]:
    return {
        "changed": _changes(reloaded.changed),
        "needs_restart": _changes(reloaded.needs_restart),
        "warnings": list(reloaded.warnings),
        "config_hash": reloaded.config_hash,
    }


def _reload_words(reloaded: Reloaded) -> Iterator[str]:
    for key, (before, after) in reloaded.changed.items():
        yield f"{key} is {json.dumps(after)}, was {json.dumps(before)}"
    for key, (_, after) in reloaded.needs_restart.items():
        yield f"{key} is {json.dumps(after)} after a restart"


def _changes(values: Mapping[str, tuple[object, object]]) -> dict[str, dict[str, object]]:
    return {key: {"from": before, "to": after} for key, (before, after) in values.items()}


def _respond(callback: Callable[..., Answer]) -> Callable[..., bottle.HTTPResponse]:
    def respond(**arguments: str) -> bottle.HTTPResponse:
        try:
            reply = callback(**arguments)
        except ConductorError as error:
            reply = problem(error)
        return bottle.HTTPResponse(reply.body, reply.status, dict(reply.headers))

    return respond


def _explain(error: bottle.HTTPError, *, alone: bool) -> bytes:
    """
    Return the body for a request that met no route; bottle has set status and headers.
    """
    bottle.response.content_type = "application/json"
    if error.status_code == 405:  # noqa: PLR2004 - method not allowed
        allowed = "POST is" if "POST" in error.get_header("Allow", "") else "GET and HEAD are"
        return answer.error(405, f"only {allowed} allowed here", kind="usage", exit_code=2).body
    routes = [*(f"GET {path}" for path in QUESTIONS), *(f"POST {path}" for path in CHANGES)]
    if alone:
        words = "no agent runs, and without one there is no such page"
        return answer.error(404, words, kind="unreachable", exit_code=3, routes=routes).body
    return answer.error(404, "no such page", kind="not_found", exit_code=1, routes=routes).body
