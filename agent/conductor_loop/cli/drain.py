"""
`conductor-loop drain`: let everything in hand end, and take nothing new.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import click

from conductor_loop.cli.admin import Admin, connect
from conductor_loop.cli.door import Door
from conductor_loop.cli.options import dry_run_option, duration_option, output_option
from conductor_loop.cli.pauses import standing
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import print_json
from conductor_loop.errors import TimedOutError

LOOK_SECONDS = 0.25


@click.command()
@duration_option("--wait", "At most this long, such as 30 or 2m; default: until nothing runs any more.")
@click.option("--stop", is_flag=True, help="Then stop the agent, and wait for its end.")
@dry_run_option
@output_option
@click.pass_obj
def drain(session: Session, *, wait: float | None, stop: bool, dry_run: bool, output: str) -> int:
    """
    Take no new files and wait until nothing runs any more.

    What was taken and can run ends; files that wait for another attempt go on waiting. `resume` ends this state,
    which outlives restarts. Exits 6 if there is still something running when the time is over.
    """
    deadline = None if wait is None else time.monotonic() + wait
    with connect(session) as admin:
        if dry_run:
            state = _look(admin)
        else:
            state = _drain_telling(admin, deadline)
            if stop and admin.door is not None:
                admin.post("/api/v1/stop")
                _await_end(admin.door, deadline)
    stopped = stop and not dry_run and admin.door is not None
    if output == "json":
        print_json({"dry_run": dry_run, **state, "stopped": stopped})
    else:
        click.echo(_words(state, dry_run=dry_run, stopped=stopped))
    return 0


def _look(admin: Admin) -> dict[str, Any]:
    if admin.door is None:
        return {"drained": True, "running": 0, "queued": 0, "waiting": None, "pauses": None}
    workers = admin.get("/metrics")["workers"]
    running, queued = workers["active_workers"], workers["queue_depth"]
    state = {"drained": not running + queued, "running": running, "queued": queued, "waiting": None}
    return {**state, "pauses": standing(admin)}


def _drain_telling(admin: Admin, deadline: float | None) -> dict[str, Any]:
    try:
        return _drain(admin, deadline)
    except KeyboardInterrupt:
        click.echo("no longer waiting; nothing new is taken until `conductor-loop resume`", err=True)
        raise


def _drain(admin: Admin, deadline: float | None) -> dict[str, Any]:
    while True:
        state = admin.post("/api/v1/drain")
        if state["drained"]:
            return state
        if deadline is not None and time.monotonic() >= deadline:
            raise TimedOutError(
                f"still at work: running {state['running']}, ready to run {state['queued']}; "
                "nothing new is taken until `conductor-loop resume`"
            )
        threading.Event().wait(LOOK_SECONDS)


def _await_end(door: Door, deadline: float | None) -> None:
    while door.answers() or door.held():
        if deadline is not None and time.monotonic() >= deadline:
            raise TimedOutError("drained and told to stop, but the agent has not ended yet")
        threading.Event().wait(LOOK_SECONDS)


def _words(state: dict[str, Any], *, dry_run: bool, stopped: bool) -> str:
    if dry_run:
        return f"no new files would be taken; running {state['running']} and ready to run {state['queued']} would end"
    waiting = f"; waiting for another attempt: {state['waiting']}" if state["waiting"] else ""
    return f"drained{', and the agent has stopped' if stopped else ''}{waiting}"
