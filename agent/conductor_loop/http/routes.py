"""
The routes: from a request to an answer, out of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from wsgiref.types import WSGIApplication

import bottle

from conductor_loop.http import answer, negotiate, page
from conductor_loop.http.administration import CHANGES, QUESTIONS
from conductor_loop.http.answer import Answer
from conductor_loop.http.guard import Guard, HostCheck
from conductor_loop.metrics import document, verdict
from conductor_loop.metrics.prometheus import Exposition, Format
from conductor_loop.metrics.snapshot import Snapshot, State


def make_app(
    *,
    snapshot: Callable[[], Snapshot],
    version: str,
    config_hash: Callable[[], str],
    hosts: Iterable[str] = (),
) -> WSGIApplication:
    """
    Return the agent's web application.

    Args:
        snapshot: the live numbers as they are now.
        version: of the program.
        config_hash: short hash of the configuration in use, which a reload changes.
        hosts: names to answer to, besides IP addresses, localhost and the machine's own name.
    """
    routes = _Routes(snapshot, version, config_hash)
    app = bottle.Bottle()
    app.config["catchall"] = False  # the guard has its own last resort, without a traceback on stderr
    for path, callback in routes.table.items():
        app.route(path, "GET", _respond(callback))
    for path in CHANGES:
        app.route(path, "ANY", _refuse_change)
    app.default_error_handler = routes.explain
    return Guard(app, refuse=HostCheck(hosts))


class _Routes:
    def __init__(
        self, snapshot: Callable[[], Snapshot], version: str, config_hash: Callable[[], str]
    ) -> None:
        self._snapshot = snapshot
        self._version = version
        self._config_hash = config_hash
        self._exposition = Exposition(snapshot=snapshot, version=version)
        self.table: dict[str, Callable[[], Answer]] = {
            "/": self.index,
            "/metrics": self.metrics,
            "/metrics/prometheus": self.prometheus,
            "/health": self.health,
            "/health/live": self.live,
            "/health/ready": self.ready,
        }

    def index(self) -> Answer:
        body = page.render(self._snapshot(), version=self._version)
        return Answer(
            200, body, {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": page.POLICY}
        )

    def metrics(self) -> Answer:
        accept = _accept()
        if negotiate.wants_prometheus(accept):
            return self._expose(negotiate.prometheus_format(accept))
        return answer.json(document.metrics(self._snapshot()), Vary="Accept")

    def prometheus(self) -> Answer:
        return self._expose(negotiate.prometheus_format(_accept()))

    def health(self) -> Answer:
        found = verdict.document(self._snapshot(), version=self._version, config_hash=self._config_hash())
        return answer.json(found, status=503 if found["status"] == State.UNHEALTHY else 200)

    def live(self) -> Answer:
        alive = self._snapshot().ticking
        return answer.json({"alive": alive}, status=200 if alive else 503)

    def ready(self) -> Answer:
        snapshot = self._snapshot()
        ready = verdict.ready(snapshot)
        found = {"ready": ready, "phase": snapshot.phase, "status": verdict.assess(snapshot).status}
        return answer.json(found, status=200 if ready else 503)

    def explain(self, problem: bottle.HTTPError) -> bytes:
        """
        Return the body for a request that met no route; bottle has set status and headers.
        """
        bottle.response.content_type = "application/json"
        if problem.status_code == 405:  # noqa: PLR2004 - method not allowed
            bottle.response.set_header("Allow", "GET, HEAD")
            return answer.error(405, "only GET and HEAD are allowed here").body
        on_socket = [*(f"GET {path}" for path in QUESTIONS), *(f"POST {path}" for path in CHANGES)]
        return answer.error(404, "no such page", routes=list(self.table), on_admin_socket=on_socket).body

    def _expose(self, form: Format) -> Answer:
        return Answer(200, self._exposition.render(form), {"Content-Type": form.value, "Vary": "Accept"})


def _refuse_change(**_: str) -> bottle.HTTPResponse:
    reply = answer.error(
        403,
        "changes are made over the agent's admin socket only; `conductor-loop --help` has the commands that do so",
        kind="permission",
        exit_code=77,
    )
    return bottle.HTTPResponse(reply.body, reply.status, dict(reply.headers))


def _accept() -> str:
    return str(bottle.request.get_header("Accept", ""))


def _respond(callback: Callable[[], Answer]) -> Callable[[], bottle.HTTPResponse]:
    def respond() -> bottle.HTTPResponse:
        reply = callback()
        return bottle.HTTPResponse(reply.body, reply.status, dict(reply.headers))

    return respond
