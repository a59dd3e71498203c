"""
`conductor-loop drain`: let everything in hand end, and take nothing new.
"""

from __future__ import annotations

import os
import select
import threading
import time
from typing import TYPE_CHECKING, Any

import click

from conductor_loop.cli.admin import Admin, connect
from conductor_loop.cli.options import deed_output_option, dry_run_option, duration_option
from conductor_loop.cli.pauses import standing
from conductor_loop.cli.session import Session
from conductor_loop.cli.terminal import print_json
from conductor_loop.errors import TimedOutError

if TYPE_CHECKING:
    from conductor_loop.cli.door import Door

LOOK_SECONDS = 0.25
EXIT_SECONDS = 5.0  #: that an interpreter takes at most to end, once its agent has


@click.command()
@duration_option("--wait", "At most this long, such as 30 or 2m; default: until nothing runs any more.")
@click.option("--stop", is_flag=True, help="Then stop the agent, and wait for its end.")
@dry_run_option
@deed_output_option("dry_run", "drained", "running", "queued", "waiting", "pauses", "stopped")
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
                _stop(admin, admin.door, deadline)
    stopped = stop and not dry_run and admin.door is not None
    if output == "json":
        print_json({"dry_run": dry_run, **state, "stopped": stopped})
    else:
        click.echo(_words(state, dry_run=dry_run, stopped=stopped, alone=admin.door is None))
    return 0


def _look(admin: Admin) -> dict[str, Any]:
    if admin.door is None:
        running, queued, waiting = 0, 0, None
    else:
        workers = admin.get("/metrics")["workers"]
        running, queued, waiting = (
            workers[key] for key in ("active_workers", "queue_depth", "retry_waiting")
        )
    state = {"drained": not running + queued, "running": running, "queued": queued, "waiting": waiting}
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


def _stop(admin: Admin, door: Door, deadline: float | None) -> None:
    process = door.process()  # before, for afterwards nobody tells
    try:
        admin.post("/api/v1/stop")
        _await_end(door, deadline)
        if process is not None:
            _await_exit(process, deadline)
    finally:
        if process is not None:
            os.close(process)


def _await_exit(process: int, deadline: float | None) -> None:
    """
    Wait for the end of the process as well; that of an agent in another program goes on, and is not waited for long.
    """
    left = EXIT_SECONDS if deadline is None else min(EXIT_SECONDS, max(0.0, deadline - time.monotonic()))
    exited = select.poll()
    exited.register(process, select.POLLIN)
    exited.poll(left * 1000)


def _await_end(door: Door, deadline: float | None) -> None:
    while door.answers() or door.held():
        if deadline is not None and time.monotonic() >= deadline:
            raise TimedOutError("drained and told to stop, but the agent has not ended yet")
        threading.Event().wait(LOOK_SECONDS)


def _words(state: dict[str, Any], *, dry_run: bool, stopped: bool, alone: bool) -> str:
    if dry_run and alone:
        return "no agent runs; the next one would take no new files"
    if dry_run:
        return f"no new files would be taken; running {state['running']} and ready to run {state['queued']} would end"
    waiting = f"; waiting for another attempt: {state['waiting']}" if state["waiting"] else ""
    end = ", as no agent runs" if alone else ", and the agent has stopped" if stopped else ""
    return f"drained{end}{waiting}"
