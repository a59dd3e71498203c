"""
Health: one state per component, the worst for all.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import conductor_loop
from conductor_loop.metrics import verdict
from conductor_loop.metrics.live import Live
from conductor_loop.metrics.snapshot import COMPONENTS, State
from conductor_loop.model import PauseReason
from scenario import NOW, Clock

PROGRAM = Path(conductor_loop.__file__).parent


@pytest.fixture
def monotonic() -> Clock:
    return Clock()


@pytest.fixture
def live(monotonic: Clock) -> Live:
    made = Live(max_workers=4, command_name="porch", monotonic=monotonic, now=lambda: NOW)
    made.phase("running")
    return made


def states(live: Live) -> dict[str, str]:
    """
    Return the components that are not healthy.
    """
    found = verdict.assess(live.snapshot()).components
    return {name: one.state for name, one in found.items() if one.state != "healthy"}


def test_an_agent_that_runs_is_healthy(live: Live):
    """
    Every component is named, in a fixed order.
    """
    found = verdict.document(live.snapshot(), version="0.1.0", config_hash="abc")

    assert found["status"] == "healthy"
    assert found["components"] == dict.fromkeys(COMPONENTS, "healthy")
    assert found["warnings"] == []
    assert verdict.ready(live.snapshot())


def test_the_document_has_every_key_of_the_contract(live: Live, monotonic: Clock):
    """
    With times as text.
    """
    monotonic.now += 8130.7
    live.beat()

    found = verdict.document(live.snapshot(), version="0.1.0", config_hash="abc")

    expected = [
        "status",
        "timestamp",
        "uptime",
        "version",
        "agent",
        "instance_id",
        "config_hash",
        "components",
        "details",
        "warnings",
    ]
    assert expected == list(found)
    assert (found["timestamp"], found["uptime"]) == ("2026-11-18T11:06:40Z", "2h15m30s")
    assert (found["version"], found["config_hash"]) == ("0.1.0", "abc")


@pytest.mark.parametrize(
    ("reason", "component"),
    [
        (PauseReason.OPERATOR, "fsnotify_watcher"),
        (PauseReason.DRAIN, "fsnotify_watcher"),
        (PauseReason.HANDOFF, "fsnotify_watcher"),
        (PauseReason.COMMAND, "worker_pool"),
        (PauseReason.RETRIES, "worker_pool"),
        (PauseReason.DISK, "disk"),
        (PauseReason.STORE, "store"),
    ],
)
def test_a_pause_shows_in_its_component(live: Live, reason: PauseReason, component: str):
    """
    A pause is degraded, whatever the reason, and over when it is lifted.
    """
    live.pause(reason, "because")

    found = verdict.document(live.snapshot(), version="", config_hash="")
    assert states(live) == {component: "degraded"}
    assert found["status"] == "degraded"
    assert found["details"]["components"] == {component: f"intake is paused ({reason}): because"}
    assert found["details"]["paused"][reason]["message"] == "because"
    live.resume(reason)
    assert states(live) == {}


def test_every_pause_reason_has_a_rule(live: Live):
    """
    A new reason without one would leave the agent healthy while nothing runs.
    """
    for reason in PauseReason:
        live.pause(reason, "")
        assert states(live)
        live.resume(reason)


def test_a_main_loop_that_stands_is_unhealthy(live: Live, monotonic: Clock):
    """
    And no longer ready.
    """
    monotonic.now += 12

    assert states(live) == {"worker_pool": "unhealthy"}
    assert not verdict.ready(live.snapshot())


def test_a_file_written_for_very_long_is_degraded(live: Live):
    """
    Until it is done.
    """
    live.set(still_written=2)
    assert states(live) == {"file_manager": "degraded"}

    live.set(still_written=0)
    assert states(live) == {}


def test_warnings_change_no_status(live: Live):
    """
    They are shown and no more.
    """
    live.warn("sqlite", "old")

    found = verdict.document(live.snapshot(), version="", config_hash="")
    assert (found["status"], found["warnings"]) == ("healthy", ["old"])


def test_the_worst_of_what_is_said_counts_and_all_is_explained(live: Live):
    """
    What a component says of itself and what is read off the numbers come together.
    """
    live.health("worker_pool", "unhealthy", "a handler is late")
    live.pause(PauseReason.RETRIES, "too many")
    live.health("disk", "degraded")
    live.health("store", "healthy", "all is well")

    verdict_now = verdict.assess(live.snapshot())

    assert states(live) == {"worker_pool": "unhealthy", "disk": "degraded"}
    assert verdict_now.status is State.UNHEALTHY
    assert (
        verdict_now.components["worker_pool"].message
        == "a handler is late; intake is paused (retries): too many"
    )
    assert verdict_now.components["store"].message == ""


@pytest.mark.parametrize("phase", ["starting", "recovering", "stopping"])
def test_only_a_running_agent_is_ready(live: Live, phase: str):
    """
    Whatever its health says.
    """
    live.phase(phase)

    assert not verdict.ready(live.snapshot())
    assert states(live) == {}


def test_a_degraded_agent_is_ready(live: Live):
    """
    It works.
    """
    live.health("disk", "degraded", "low")

    assert verdict.ready(live.snapshot())


def test_the_table_names_every_component_and_no_other():
    """
    The reference page is made from it.
    """
    assert {rule.component for rule in verdict.RULES} == set(COMPONENTS)
    assert all(rule.when and rule.state is not State.HEALTHY for rule in verdict.RULES)


def _said() -> set[tuple[str, str]]:
    """
    Return component and state of every `live.health(...)` in the program.
    """
    found = set()
    for path in PROGRAM.rglob("*.py"):
        place = path.relative_to(PROGRAM.parent).with_suffix("")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".health"):
                names = vars(importlib.import_module(".".join(place.parts)))
                component, *states = (
                    eval(ast.unparse(word), dict(names))
                    for argument in node.args[:2]
                    for word in _branches(argument)
                )
                found.update((component, str(state)) for state in states)
    return found


def _branches(word: ast.expr) -> list[ast.expr]:
    """
    Return what an expression may turn out to be.
    """
    return [word.body, word.orelse] if isinstance(word, ast.IfExp) else [word]


def test_the_table_says_what_components_say_of_themselves_and_no_more():
    """
    Whoever reads that a component is unhealthy finds in the table why that can be.
    """
    said = {(component, state) for component, state in _said() if state != "healthy"}
    promised = {(rule.component, str(rule.state)) for rule in verdict.RULES if rule.test is None}

    assert ("metrics", "unhealthy") in said
    assert said == promised


@pytest.mark.parametrize(
    ("version", "old"),
    [("3.34.1", True), ("3.51.2", True), ("3.51.3", False), ("3.52.0", False), ("4.0", False)],
)
def test_old_versions_of_sqlite_are_warned_of(version: str, old: bool):
    """
    The message names the version and the first sound one.
    """
    found = verdict.old_sqlite(version)

    assert old == bool(found)
    assert not old or (version in str(found) and "3.51.3" in str(found))


def test_it_is_told_which_agent_this_is() -> None:
    """
    Two agents with the same port are not to be taken for each other.
    """
    live = Live(max_workers=1, command_name="porch", agent_name="edge-1", store_id="5f3c")

    found = verdict.document(live.snapshot(), version="", config_hash="")

    assert (found["agent"], found["instance_id"]) == ("edge-1", "5f3c")


def test_warnings_have_keys_by_which_they_can_be_left_out(live: Live):
    """
    Beside the list of their words.
    """
    live.warn("sqlite", "SQLite is old")

    found = verdict.document(live.snapshot(), version="", config_hash="")

    assert found["warnings"] == ["SQLite is old"]
    assert found["details"]["warnings"] == {"sqlite": "SQLite is old"}
