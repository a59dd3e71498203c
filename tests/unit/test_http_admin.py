"""
The application of the admin socket, called as WSGI calls it.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from wsgiref.types import WSGIApplication
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

import store_rows as rows
from administrations import MadeUpAdministration
from conductor_loop import clock
from conductor_loop.errors import (
    BusyError,
    ConductorError,
    ConfigError,
    ConflictError,
    NotFoundError,
    OwnedError,
    PermissionDeniedError,
    StoreError,
    TimedOutError,
    UnreachableError,
    UsageError,
)
from conductor_loop.http import peer
from conductor_loop.http.admin import make_admin_app
from conductor_loop.http.administration import AtWork, Draining, Reloaded
from conductor_loop.http.peer import Peer
from conductor_loop.http.routes import make_app
from conductor_loop.ledger.places import Paths
from conductor_loop.metrics.live import Live
from conductor_loop.metrics.snapshot import Pause
from conductor_loop.model import FoundBy, Kind, Outcome, PauseReason
from conductor_loop.store.changes import Changes
from conductor_loop.store.database import Store
from ledgers import paths_below

SECOND = 1_000_000
CHANGES = [
    "/api/v1/files/7/retry",
    "/api/v1/pause",
    "/api/v1/resume",
    "/api/v1/drain",
    "/api/v1/stop",
    "/api/v1/reload",
]
ALICE = Peer(2**22 + 1, 1000, 1000, admitted=True)


@dataclass
class Reply:
    """
    What came back.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """
    Sends requests; the validator checks that both sides keep to WSGI.
    """

    def __init__(self, app: WSGIApplication, who: Peer | None = ALICE) -> None:
        self._app = app
        self._who = who

    def get(self, path: str, *, method: str = "GET", host: str = "x", **query: object) -> Reply:
        return self.send(method, path, query=urlencode(query), host=host)

    def post(self, path: str, body: Any = None, *, raw: bytes | None = None) -> Reply:
        sent = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        return self.send("POST", path, body=sent)

    def send(self, method: str, path: str, *, query: str = "", body: bytes = b"", host: str = "x") -> Reply:
        environ: dict[str, Any] = {}
        setup_testing_defaults(environ)
        environ |= {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "HTTP_HOST": host}
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        peer.note(environ, self._who)
        got: list[Any] = []

        def start_response(status: str, names: list[tuple[str, str]], exc_info: Any = None) -> Any:
            got.append((int(status[:3]), dict(names)))

        chunks = validator(self._app)(environ, start_response)
        try:
            content = b"".join(chunks)
        finally:
            chunks.close()
        return Reply(*got[-1], content)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    state = tmp_path / "state"
    state.mkdir()
    with closing(Store.open(state, now=rows.NOW)) as opened:
        yield opened


@pytest.fixture
def agent(store: Store) -> MadeUpAdministration:
    return MadeUpAdministration(store)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = paths_below(tmp_path)
    for path in (made.handoff, made.work, made.processed, made.failed, made.status):
        path.mkdir()
    return made


@pytest.fixture
def pages() -> WSGIApplication:
    live = Live(max_workers=4, command_name="porch")
    return make_app(snapshot=live.snapshot, version="1", config_hash=lambda: "abc")


@pytest.fixture
def app(agent: MadeUpAdministration, paths: Paths, pages: WSGIApplication) -> WSGIApplication:
    return make_admin_app(administration=agent, paths=paths, pages=pages)


@pytest.fixture
def client(app: WSGIApplication) -> Client:
    return Client(app)


def write_five(store: Store) -> None:
    """
    Write a file of each outcome, and one that is open.
    """
    changes = rows.whole_life(1, 2, 3, 4)
    changes.ends = [
        rows.end(1, finished_at=rows.NOW + SECOND),
        rows.end(2, outcome=Outcome.FAILED, kind=Kind.TIMEOUT, finished_at=rows.NOW + 2 * SECOND),
        rows.end(3, outcome=Outcome.REJECTED, kind=Kind.EMPTY, finished_at=rows.NOW + 3 * SECOND),
        rows.end(4, outcome=Outcome.VANISHED, kind=Kind.VANISHED, finished_at=rows.NOW + 4 * SECOND),
    ]
    changes.claims.append(rows.claim(5, claimed_at=rows.NOW + 5 * SECOND))
    store.writer.commit(changes)


def test_files_come_newest_first_with_everything_that_a_line_needs(client: Client, store: Store) -> None:
    """
    Names as they are shown, moments in UTC, durations in seconds.
    """
    store.writer.commit(
        Changes(
            claims=[rows.claim(7, name="a\udcff\n.json", retry_of=3, found_by=FoundBy.RETRY)],
            ends=[rows.end(7, outcome=Outcome.FAILED, kind=Kind.TIMEOUT, message="too long", exit_code=None)],
        )
    )
    store.writer.commit(Changes(claims=[rows.claim(8)], waits=[rows.wait(8)]))

    reply = client.get("/api/v1/files")
    waiting, failed = reply.json["files"]

    assert (reply.status, reply.json["next"]) == (200, None)
    assert failed == {
        "id": f"{store.store_id}-7",
        "name": "a\\xff\\n.json",
        "outcome": "failed",
        "kind": "timeout",
        "message": "too long",
        "found_by": "retry",
        "discovered_at": "2026-11-18T11:06:40Z",
        "claimed_at": "2026-11-18T11:06:40Z",
        "finished_at": "2026-11-18T11:06:40Z",
        "next_attempt_at": None,
        "attempts": 1,
        "interruptions": 0,
        "exit_code": None,
        "duration_seconds": 0.25,
        "wait_seconds": 0.004,
        "size_bytes": 120,
        "sha256": "ab" * 32,
        "filed_as": "intent-7.json",
        "status_file": "intent-7.json-20261118-000000.status",
        "retry_of": f"{store.store_id}-3",
        "retried_as": None,
        "state": None,
        "running_since": None,
        "last_failure": None,
    }
    assert (waiting["outcome"], waiting["finished_at"], waiting["next_attempt_at"]) == (
        None,
        None,
        "2026-11-18T11:06:45Z",
    )


def test_open_files_say_what_they_are_doing(
    client: Client, agent: MadeUpAdministration, store: Store
) -> None:
    """
    With the failure that they are tried again for; an attempt that is due is queued, unless none is begun.
    """
    soon = clock.now_us() + 3600 * SECOND
    store.writer.commit(
        Changes(
            claims=[rows.claim(number) for number in (1, 2, 3, 4)],
            attempts=[rows.attempt(2), rows.attempt(3)],
            waits=[rows.wait(2), rows.wait(3, next_attempt_at=soon)],
        )
    )
    agent.working = AtWork(running={4: rows.NOW}, held=False)

    files = client.get("/api/v1/files").json["files"]
    assert [(file["state"], file["running_since"]) for file in files] == [
        ("running", "2026-11-18T11:06:40Z"),
        ("waiting", None),
        ("queued", None),
        ("queued", None),
    ]
    failure = {"kind": "command_failed", "message": "exit code 1"}
    assert [file["last_failure"] for file in files] == [None, failure, failure, None]
    assert client.get("/api/v1/files/4").json["running_since"] == "2026-11-18T11:06:40Z"

    agent.working = AtWork(running={}, held=True)
    files = client.get("/api/v1/files").json["files"]
    assert [file["state"] for file in files] == ["queued", "waiting", "waiting", "queued"]


def test_unresolved_files_are_those_that_nobody_tried_again(
    client: Client, store: Store, paths: Paths
) -> None:
    """
    Lists say which newer file did, and on request where a file is.
    """
    write_five(store)
    store.writer.commit(Changes(claims=[rows.claim(6, retry_of=2)]))
    (paths.failed / "intent-3.json").write_text("{}")
    identity = rows.claim(7).identity._replace(ino=(paths.failed / "intent-3.json").stat().st_ino)
    store.writer.commit(
        Changes(
            claims=[rows.claim(7, name="intent-3.json", identity=identity)],
            ends=[rows.end(7, outcome=Outcome.FAILED, kind=Kind.TIMEOUT, target="intent-3.json")],
        )
    )

    everything = client.get("/api/v1/files", outcome="failed,rejected")
    assert [file["retried_as"] for file in everything.json["files"]] == [None, None, f"{store.store_id}-6"]
    assert "path" not in everything.json["files"][0]
    assert found(client.get("/api/v1/files", unresolved="true")) == [7, 3]
    assert found(client.get("/api/v1/files", unresolved="false", outcome="failed")) == [7, 2]
    placed = client.get("/api/v1/files", unresolved="true", places="true").json["files"]
    assert [file["path"] for file in placed] == [str(paths.failed / "intent-3.json"), None]


def found(reply: Reply) -> list[int]:
    assert reply.status == 200, reply.body
    return [int(file["id"].partition("-")[2]) for file in reply.json["files"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [5, 4, 3, 2, 1]),
        ({"outcome": "failed,rejected"}, [3, 2]),
        ({"outcome": "open"}, [5]),
        ({"kind": "empty,vanished"}, [4, 3]),
        ({"name": "intent-[24]*"}, [4, 2]),
        ({"since": "2026-11-18T11:06:44Z"}, [5, 4]),
        ({"until": "2026-11-18T12:06:42+01:00"}, [1]),
        ({"since": "2026-11-18T11:06:41Z", "until": "2026-11-18T11:06:43Z"}, [2, 1]),
        ({"limit": 2}, [5, 4]),
        ({"before": 3}, [2, 1]),
        ({"outcome": "failed", "since": "9999-12-31T23:59:59Z"}, []),
    ],
)
def test_files_are_filtered(
    client: Client, store: Store, query: dict[str, object], expected: list[int]
) -> None:
    """
    Also by times of another zone.
    """
    write_five(store)

    assert found(client.get("/api/v1/files", **query)) == expected


def test_each_page_says_where_the_next_one_begins(client: Client, store: Store) -> None:
    """
    The last one says that there is none, also when it is full.
    """
    write_five(store)
    store.writer.commit(rows.whole_life(6))
    first = client.get("/api/v1/files", limit=3)
    second = client.get("/api/v1/files", limit=3, before=first.json["next"])

    assert (found(first), first.json["next"]) == ([6, 5, 4], f"{store.store_id}-4")
    assert (found(second), second.json["next"]) == ([3, 2, 1], None)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("outcome=lost", "outcome: 'lost' is unknown; there are processed, failed, rejected, vanished, open"),
        ("outcome=", "outcome: '' is unknown"),
        ("outcome=failed,", "outcome: '' is unknown"),
        ("kind=tiemout", "kind: 'tiemout' is unknown; there are invalid_json"),
        ("since=yesterday", "since: 'yesterday' is no time; write it as 2026-11-23T07:43:18Z"),
        ("until=2026-11-18", "until: '2026-11-18' is no time"),
        ("since=0001-01-01T00:00:00%2B23:59:59.999999x", "is no time"),
        ("unresolved=yes", "unresolved: 'yes' is neither true nor false"),
        ("limit=0", "limit: '0' is no number from 1 to 1000"),
        ("limit=1001", "limit"),
        ("limit=%D9%A3", "limit"),
        (f"limit={'9' * 5000}", "limit"),
        ("before=x", "'x' is no id of a file; ids are like"),
        ("colour=red", "'colour' is no parameter here; there are outcome, kind, name"),
        ("limit=1&limit=2", "limit is given twice"),
        ("name=%ff", "the query cannot be read"),
        ("&".join(f"a{number}=1" for number in range(200)), "the query cannot be read"),
    ],
)
def test_a_question_that_makes_no_sense_is_told_what_is_wrong(client: Client, query: str, words: str) -> None:
    """
    As a mistake of usage.
    """
    reply = client.send("GET", "/api/v1/files", query=query)

    assert (reply.status, reply.json["kind"], reply.json["exit_code"]) == (400, "usage", 2)
    assert words in reply.json["error"]


def test_a_search_that_takes_too_long_says_how_to_narrow_it(
    client: Client, agent: MadeUpAdministration, store: Store
) -> None:
    """
    Instead of the store's own words, which sound as if it were broken.
    """
    store.writer.commit(rows.whole_life(*range(1, 2001)))
    agent.read_seconds = 0.0

    reply = client.get("/api/v1/files", name="nothing")

    assert (reply.status, reply.json["kind"], reply.headers["Retry-After"]) == (503, "busy", "1")
    assert "narrow the question with since or outcome" in reply.json["error"]


def test_one_file_has_its_runs_and_its_places(client: Client, store: Store, paths: Paths) -> None:
    """
    Output that is no UTF-8 is escaped.
    """
    store.writer.commit(rows.whole_life(3))
    (paths.processed / "intent-3.json").write_text("{}")
    identity = rows.claim(3).identity._replace(ino=(paths.processed / "intent-3.json").stat().st_ino)
    store.writer.commit(
        Changes(
            claims=[rows.claim(4, name="intent-3.json", identity=identity)],
            attempts=[rows.attempt(4, signal=9, survivors=1), rows.attempt(4, attempt=2)],
            interruptions=[rows.interruption(4)],
            ends=[rows.end(4, target="intent-3.json", attempts=2)],
        )
    )
    reply = client.get(f"/api/v1/files/{store.store_id}-4")

    assert reply.status == 200
    assert reply.json == client.get("/api/v1/files/4").json
    assert reply.json["path"] == str(paths.processed / "intent-3.json")
    assert (reply.json["status_path"], reply.json["error_log"], reply.json["retried_as"]) == (
        None,
        None,
        None,
    )
    assert reply.json["runs"][0] == {
        "attempt": 1,
        "started_at": "2026-11-18T11:06:40Z",
        "duration_seconds": 0.25,
        "exit_code": 1,
        "signal": 9,
        "kind": "command_failed",
        "message": "exit code 1",
        "output": "no \\xff good",
        "output_bytes": 300_000_000,
        "output_cut": True,
        "survivors": 1,
    }
    assert [run["attempt"] for run in reply.json["runs"]] == [1, 2]
    assert reply.json["interrupted_runs"] == [
        {"started_at": "2026-11-18T11:06:40Z", "found_at": "2026-11-18T11:06:42Z", "cause": "death"}
    ]
    assert client.get("/api/v1/files/3").json["path"] is None


def test_a_file_that_was_retried_names_the_newer_one(client: Client, store: Store) -> None:
    """
    And the newer one names it.
    """
    store.writer.commit(rows.whole_life(1))
    store.writer.commit(Changes(claims=[rows.claim(2, retry_of=1)]))

    assert client.get("/api/v1/files/1").json["retried_as"] == f"{store.store_id}-2"
    assert client.get("/api/v1/files/2").json["retry_of"] == f"{store.store_id}-1"


@pytest.mark.parametrize(
    ("id", "status", "words"),
    [
        ("0123456789-1", 404, "there is no file 0123456789-1; the ids of this store begin with"),
        ("9" * 30, 404, "there is no file 999"),
        ("x", 400, "'x' is no id of a file; ids are like"),
        ("-1", 400, "is no id"),
        ("1.0", 400, "is no id"),
        ("\xd9\xa3", 400, "is no id"),  # an arabic 3, in UTF-8 as WSGI has it
        ("1 ", 400, "is no id"),
    ],
)
def test_an_id_that_cannot_be_is_refused(
    client: Client, agent: MadeUpAdministration, id: str, status: int, words: str
) -> None:
    """
    Before anybody looks for it.
    """
    for reply in (client.get(f"/api/v1/files/{id}"), client.post(f"/api/v1/files/{id}/retry")):
        assert reply.status == status
        assert words in reply.json["error"]
    assert agent.asked == []


def test_a_file_that_is_not_there_may_be_too_old(client: Client, store: Store) -> None:
    """
    Its row is not kept for ever.
    """
    reply = client.get("/api/v1/files/12")

    assert (reply.status, reply.json["kind"], reply.json["exit_code"]) == (404, "not_found", 1)
    assert f"there is no file {store.store_id}-12" in reply.json["error"]


@pytest.mark.parametrize(("body", "dry_run"), [(None, False), ({}, False), ({"dry_run": True}, True)])
def test_retry_answers_with_the_new_file(
    client: Client, agent: MadeUpAdministration, body: Any, dry_run: bool
) -> None:
    """
    A dry run has none.
    """
    reply = client.post("/api/v1/files/7/retry", body)

    assert agent.asked == [("retry", 7, dry_run)]
    assert reply.json == {
        "id": None if dry_run else f"{agent.store_id}-99",
        "retry_of": f"{agent.store_id}-7",
        "name": "a\\xff.json",
        "path": "/var/failed/a\\xff.json",
    }


def test_pause_resume_and_drain_answer_with_what_stands(client: Client, agent: MadeUpAdministration) -> None:
    """
    A pause says who asked for it, and which stood before.
    """
    paused = client.post("/api/v1/pause", {"message": "new\nporch"})
    again = client.post("/api/v1/pause", {"message": ""})
    agent.draining = Draining(running=2, queued=0, waiting=7)
    drained = client.post("/api/v1/drain")
    assert client.get("/api/v1/pauses").json["pauses"] == drained.json["pauses"]
    resumed = client.post("/api/v1/resume", {})

    since = "2026-11-18T11:06:40Z"
    first = {"since": since, "message": f"new\\nporch ({ALICE.user})"}
    assert paused.json == {"pauses": {"operator": first}, "before": None}
    words = again.json["pauses"]["operator"]["message"]
    assert (words, again.json["before"]) == (f"asked for by {ALICE.user}", first)
    assert drained.json == {
        "drained": False,
        "running": 2,
        "queued": 0,
        "waiting": 7,
        "pauses": {
            "operator": {"since": since, "message": words},
            "drain": {"since": since, "message": "for maintenance"},
        },
    }
    assert resumed.json == {"lifted": ["operator", "drain"], "pauses": {}}
    assert client.get("/api/v1/pauses").json == {"pauses": {}}


@pytest.mark.parametrize(
    ("running", "queued", "drained"), [(0, 0, True), (1, 0, False), (0, 1, False), (3, 2, False)]
)
def test_drained_is_who_has_nothing_in_hand(running: int, queued: int, drained: bool) -> None:
    """
    Files that wait for another attempt do not count.
    """
    assert Draining(running=running, queued=queued, waiting=9).drained is drained


def test_stop_and_reload_answer_at_once(client: Client, agent: MadeUpAdministration) -> None:
    """
    The end itself comes later.
    """
    agent.reloaded = Reloaded(
        changed={"agent.pattern": ("intent-*.json", "*.json")},
        needs_restart={"http.metrics_port": (8080, 9090)},
        warnings=["odd"],
        config_hash="cafe",
    )

    assert client.post("/api/v1/stop").json == {"stopping": True}
    assert client.post("/api/v1/reload", {"dry_run": True}).json == {
        "changed": {"agent.pattern": {"from": "intent-*.json", "to": "*.json"}},
        "needs_restart": {"http.metrics_port": {"from": 8080, "to": 9090}},
        "warnings": ["odd"],
        "config_hash": "cafe",
    }
    assert agent.asked == [("stop",), ("reload", True)]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{", "the body is no JSON"),
        (b"\xff", "the body is no JSON"),
        (b"[" * 60_000, "the body is no JSON"),
        (b"[]", "the body must be a JSON object"),
        (b'"dry_run"', "the body must be a JSON object"),
        (b'{"dryrun": true}', "'dryrun' is no key here; there are"),
        (b'{"\\u0000": 1}', "is no key here"),
        (b'"' + b"a" * 70_000 + b'"', "the body has more than 65536 bytes"),
    ],
)
def test_a_bad_body_changes_nothing(
    client: Client, agent: MadeUpAdministration, raw: bytes, words: str
) -> None:
    """
    It is told what is wrong with it.
    """
    for path in CHANGES:
        reply = client.post(path, raw=raw)

        assert (reply.status, reply.json["kind"], reply.json["exit_code"]) == (400, "usage", 2)
        assert words in reply.json["error"]
    assert agent.asked == []


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/api/v1/files/7/retry", {"dry_run": 1}, "dry_run must be true or false"),
        ("/api/v1/reload", {"dry_run": None}, "dry_run must be true or false"),
        ("/api/v1/pause", {"message": 5}, "message must be a string"),
        ("/api/v1/pause", {"message": "x" * 1001}, "at most 1000 characters; this has 1001"),
        ("/api/v1/resume", {"dry_run": True}, "'dry_run' is no key here; there are none"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(
    client: Client, agent: MadeUpAdministration, path: str, body: Any, words: str
) -> None:
    """
    With the type that it must have.
    """
    reply = client.post(path, body)

    assert reply.status == 400
    assert words in reply.json["error"]
    assert agent.asked == []


@pytest.mark.parametrize(
    ("error", "status", "exit_code"),
    [
        (UsageError("no"), 400, 2),
        (PermissionDeniedError("no"), 403, 77),
        (NotFoundError("no"), 404, 1),
        (ConflictError("no"), 409, 1),
        (ConfigError("no", warnings=["odd"]), 422, 78),
        (OwnedError("no"), 422, 78),
        (BusyError("no"), 503, 1),
        (StoreError("no"), 503, 74),
        (TimedOutError("no"), 503, 6),
        (UnreachableError("no"), 503, 3),
        (ConductorError("no"), 500, 1),
    ],
)
def test_what_the_agent_refuses_is_answered_with_its_own_words(
    client: Client, agent: MadeUpAdministration, error: ConductorError, status: int, exit_code: int
) -> None:
    """
    Only where asking again helps, the answer says when.
    """
    agent.error = error
    for path in CHANGES:
        reply = client.post(path)

        assert reply.status == status
        assert reply.json == {"error": str(error), "kind": error.kind, "exit_code": exit_code}
        assert reply.headers.get("Retry-After") == ("1" if isinstance(error, BusyError) else None)


def test_every_change_is_logged_with_who_asked_for_it(
    client: Client, agent: MadeUpAdministration, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Also one that was refused; but no dry run, and nothing that is asked again and again until it goes.
    """
    with caplog.at_level(logging.INFO):
        client.post("/api/v1/files/7/retry", {"dry_run": True})
        client.post("/api/v1/reload", {"dry_run": True})
        client.get("/api/v1/files")
        assert caplog.messages == []
        client.post("/api/v1/files/7/retry")
        client.post("/api/v1/pause", {"message": "new porch"})
        client.post("/api/v1/drain")
        client.post("/api/v1/drain")
        client.post("/api/v1/resume")
        client.post("/api/v1/resume")
        client.post("/api/v1/reload")
        agent.reloaded = replace(
            agent.reloaded, changed={"agent.settle": ("1s", "2s")}, needs_restart={"agent.name": ("a", "b")}
        )
        client.post("/api/v1/reload")
        client.post("/api/v1/stop")
        agent.error = BusyError("ask again")
        client.post("/api/v1/files/7/retry")
        agent.error = ConfigError("bad", "worse")
        client.post("/api/v1/reload")

    who = f"; asked for by uid 1000, pid {ALICE.pid} (?)"
    assert caplog.messages == [
        f"retry of file 7: as {agent.store_id}-99 (a\\xff.json){who}",
        f"pause (new porch ({ALICE.user})): done{who}",
        f"drain: done{who}",
        f"resume: operator, drain{who}",
        f"resume: nothing was paused{who}",
        f"reload: nothing changed{who}",
        f'reload: agent.settle is "2s", was "1s"; agent.name is "b" after a restart{who}',
        f"stop: done{who}",
        f"reload: refused, bad\\nworse{who}",
    ]


def test_a_bug_is_logged_as_one(
    client: Client, agent: MadeUpAdministration, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Nobody is told that it was done.
    """
    agent.retry = lambda number, *, dry_run: 1 / 0  # type: ignore[assignment,method-assign,return-value]
    with caplog.at_level(logging.INFO):
        reply = client.post("/api/v1/files/7/retry")

    assert reply.status == 500
    assert "ZeroDivisionError" not in reply.body.decode()
    assert "retry of file 7: broke off" in caplog.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("path", ["/metrics", "/health", "/health/live", "/", "/metrics/prometheus"])
def test_the_pages_of_the_tcp_server_are_there_too(client: Client, path: str) -> None:
    """
    Whatever name was asked: a socket in the file system has none.
    """
    assert client.get(path, host="evil.example").status == 200
    assert client.get(path, method="HEAD").body == b""


@pytest.mark.parametrize("path", ["/api/v1/files", "/api/v1/files/1"])
def test_head_has_no_body(client: Client, store: Store, path: str) -> None:
    """
    As everywhere.
    """
    store.writer.commit(rows.whole_life(1))

    assert client.get(path, method="HEAD").body == b""


def test_an_unknown_page_lists_what_there_is(client: Client) -> None:
    """
    Here and on the other server.
    """
    asked, sent = client.get("/api/v1/file"), client.post("/api/v1/retry")

    assert (asked.status, sent.status) == (404, 404)
    assert "/metrics" in asked.json["routes"]
    assert asked.json["on_admin_socket"] == sent.json["routes"]
    assert sent.json["routes"][:4] == [
        "GET /api/v1/files",
        "GET /api/v1/files/<id>",
        "GET /api/v1/pauses",
        "POST /api/v1/files/<id>/retry",
    ]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/v1/pause", "POST"),
        ("POST", "/api/v1/files", "GET"),
        ("DELETE", "/api/v1/files/1", "GET"),
    ],
)
def test_another_method_is_refused(client: Client, method: str, path: str, allowed: str) -> None:
    """
    Naming the one there is.
    """
    reply = client.send(method, path)

    assert reply.status == 405
    assert f"only {allowed}" in reply.json["error"]


@pytest.mark.parametrize("who", [None, Peer(1, 1000, 1000, admitted=False)])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/v1/files"), ("GET", "/metrics"), ("POST", "/api/v1/stop"), ("GET", "/x")],
)
def test_strangers_get_nothing(
    app: WSGIApplication, agent: MadeUpAdministration, who: Peer | None, method: str, path: str
) -> None:
    """
    Nor does anybody of whom it is not known who it is.
    """
    reply = Client(app, who).send(method, path)

    assert (reply.status, reply.json["kind"], reply.json["exit_code"]) == (403, "permission", 77)
    assert "members of the socket's group" in reply.json["error"]
    assert agent.asked == []


@pytest.mark.parametrize("path", ["/api/v1/files", "/metrics", "/api/v1/pause", "/nope"])
def test_every_answer_has_the_security_headers(client: Client, path: str) -> None:
    """
    As those of the TCP server.
    """
    headers = client.get(path).headers

    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_without_an_agent_this_process_asks_itself(
    agent: MadeUpAdministration, paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Everything that needs no live numbers is there.
    """
    alone = Client(make_admin_app(administration=agent, paths=paths, pages=None), who=None)
    with caplog.at_level(logging.INFO):
        assert alone.get("/api/v1/files").json == {"files": [], "next": None}
        assert alone.post("/api/v1/pause").status == 200
        missing = alone.get("/metrics")

    assert "asked for by uid " in caplog.text
    assert (missing.status, missing.json["kind"], missing.json["exit_code"]) == (404, "unreachable", 3)
    assert "no agent runs" in missing.json["error"]


def test_a_pause_keeps_its_own_beginning(client: Client, agent: MadeUpAdministration) -> None:
    """
    What stands for other reasons is shown as well.
    """
    agent.standing[PauseReason.DISK] = Pause(rows.NOW - 60 * SECOND, "full")

    assert client.post("/api/v1/pause", {"message": "x"}).json["pauses"] == {
        "disk": {"since": "2026-11-18T11:05:40Z", "message": "full"},
        "operator": {"since": "2026-11-18T11:06:40Z", "message": f"x ({ALICE.user})"},
    }
