"""
An agent inside the program that runs the tests.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import scenario
from conductor_loop import Config, File, FileResult, Metrics, Retry, Watcher
from conductor_loop.errors import (
    ConfigError,
    ConflictError,
    OwnedError,
    ServiceCrashError,
    StopTimeoutError,
    TimedOutError,
)
from conductor_loop.intake.intake import Intake
from conductor_loop.metrics import document, flat
from conductor_loop.runtime.service import OnCrash
from conductor_loop.work.attempt import Attempter
from waiting import wait_until

INTENT = b'{"intent_type": "scaling", "target": "cell", "namespace": "ran", "replicas": 3}'


def quick(handler: Callable[[File], Any] | None = None, **settings: Any) -> Config:
    """
    Return a configuration that a test need not wait for.
    """
    given = {"handler": handler or (lambda file: None)} if "command" not in settings else {}
    usual = {"settle": 0.01, "reject_after": 0.01, "scan_interval": 0.1, "min_free": 0, "kill_grace": 0.1}
    return Config(**{**given, **usual, **settings})


def drop(directory: Path, name: str, content: bytes = INTENT) -> None:
    """
    Put a file into the watched directory, whole and at once.
    """
    directory.mkdir(exist_ok=True)
    hidden = directory / ".dropped"
    hidden.write_bytes(content)
    hidden.rename(directory / name)


@contextmanager
def held_handler() -> Iterator[tuple[Callable[[File], None], threading.Event]]:
    """
    Give a handler that does not return before the end of the test, and the event that says that it has a file.
    """
    go, has_file = threading.Event(), threading.Event()

    def handle(file: File) -> None:
        has_file.set()
        go.wait(30)

    try:
        yield handle, has_file
    finally:
        go.set()


@pytest.fixture
def handoff(tmp_path: Path) -> Path:
    return tmp_path / "in"


def test_a_function_is_called_with_each_file(handoff: Path) -> None:
    """A closure will do; what it gets is what a handler of the agent gets."""
    got: list[File] = []
    drop(handoff, "intent-a.json")

    with Watcher(handoff, quick(got.append)) as watcher:
        assert watcher.running
        wait_until((handoff / "processed" / "intent-a.json").exists)

    assert [(file.name, file.attempt, file.data["replicas"]) for file in got] == [("intent-a.json", 1, 3)]
    assert not watcher.running
    assert watcher.error is None


def test_a_command_is_run_on_each_file(handoff: Path) -> None:
    """Relative to nothing: the output directory is a folder of the watched one."""
    drop(handoff, "intent-a.json")

    with Watcher(handoff, quick(command=["/bin/cp", "{path}", "{out_dir}/{name}"])):
        wait_until((handoff / "processed" / "intent-a.json").exists)

    assert (handoff / "out" / "intent-a.json").read_bytes() == INTENT


def test_on_file_is_told_of_every_file(handoff: Path) -> None:
    """Whatever became of it, and where it is now."""
    told: list[FileResult] = []

    def handle(file: File) -> str:
        if file.name == "intent-bad.json":
            raise RuntimeError("not today")
        return "fine"

    for name, content in (("intent-a.json", INTENT), ("intent-bad.json", INTENT), ("intent-no.json", b"[]")):
        drop(handoff, name, content)
    before = datetime.now(UTC) - timedelta(seconds=1)
    with Watcher(handoff, quick(handle), on_file=told.append):
        wait_until(lambda: len(told) == 3)

    good, bad, rejected = sorted(told, key=lambda result: result.name)
    assert (good.outcome, good.kind, good.message) == ("processed", None, "fine")
    assert good.path == handoff / "processed" / "intent-a.json"
    assert (bad.outcome, bad.kind, bad.message) == ("failed", "handler_error", "RuntimeError: not today")
    assert bad.path == handoff / "failed" / "intent-bad.json"
    assert (rejected.outcome, rejected.duration_seconds) == ("rejected", None)
    assert all(before < result.finished_at < datetime.now(UTC) for result in told)
    assert all(result.path and result.path.exists() for result in told)
    assert len({result.id for result in told}) == 3


@pytest.mark.slow
def test_a_stop_returns_after_the_last_file_was_told(handoff: Path) -> None:
    """However slow on_file is."""
    told: list[str] = []

    def tell(result: FileResult) -> None:
        threading.Event().wait(0.4)
        told.append(result.name)

    names = [f"intent-{number}.json" for number in range(4)]
    for name in names:
        drop(handoff, name)
    with Watcher(handoff, quick(), on_file=tell):
        wait_until(lambda: len(list((handoff / "processed").iterdir())) == 4)

    assert sorted(told) == names


@pytest.mark.parametrize("error", [ValueError("oh"), SystemExit(3)])
def test_what_on_file_raises_is_logged(
    handoff: Path, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """And it is told of the next file as well."""
    told: list[str] = []

    def tell(result: FileResult) -> None:
        told.append(result.name)
        raise error

    drop(handoff, "intent-a.json")
    with Watcher(handoff, quick(), on_file=tell) as watcher:
        wait_until(lambda: len(told) == 1)
        drop(handoff, "intent-b.json")
        wait_until(lambda: len(told) == 2)
        assert watcher.running

    assert caplog.text.count("on_file failed for intent-") == 2


def test_a_handler_may_ask_for_another_attempt(handoff: Path) -> None:
    """As everywhere, by raising Retry."""
    attempts: list[int] = []

    def handle(file: File) -> None:
        attempts.append(file.attempt)
        if file.attempt == 1:
            raise Retry("not yet", delay=0)

    drop(handoff, "intent-a.json")
    with Watcher(handoff, quick(handle)):
        wait_until((handoff / "processed" / "intent-a.json").exists)

    assert attempts == [1, 2]


def test_it_can_be_stopped_from_on_file(handoff: Path) -> None:
    """There it only asks for the end, for it cannot wait for itself."""
    names = []

    def tell(result: FileResult) -> None:
        names.append(result.name)
        watcher.stop()

    watcher = Watcher(handoff, quick(), on_file=tell)
    drop(handoff, "intent-a.json")
    watcher.start()
    wait_until(lambda: not watcher.running)
    watcher.stop()

    assert names == ["intent-a.json"]


def test_it_can_be_stopped_from_a_handler(handoff: Path) -> None:
    """The file that it has is still filed."""

    def handle(file: File) -> None:
        watcher.stop()

    watcher = Watcher(handoff, quick(handle))
    drop(handoff, "intent-a.json")
    watcher.start()
    wait_until(lambda: not watcher.running)

    assert (handoff / "processed" / "intent-a.json").exists()


def test_a_stop_during_a_start_is_not_lost(handoff: Path) -> None:
    """From on_file, told of a file by the recovery or by a worker while others are still being started."""
    watcher = Watcher(handoff, quick(), on_file=lambda result: watcher.stop())
    for turn in range(5):
        drop(handoff, f"intent-{turn}.json")
        watcher.start()
        wait_until(lambda: not watcher.running)

    watcher.stop()
    assert len(list((handoff / "processed").iterdir())) == 5


def test_it_starts_again_after_a_stop(handoff: Path) -> None:
    """And goes on counting where it was."""
    watcher = Watcher(handoff, quick())
    for turn in range(2):
        drop(handoff, f"intent-{turn}.json")
        with watcher:
            wait_until(lambda: watcher.get_metrics().throughput_files_per_sec > 0)

    assert watcher.get_metrics().files_processed_total == 2


def in_a_thread(call: Callable[[], None]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(10)


def test_starts_and_stops_from_any_thread(handoff: Path) -> None:
    """The main thread is nothing special."""
    watcher = Watcher(handoff, quick())
    drop(handoff, "intent-a.json")

    in_a_thread(watcher.start)
    wait_until((handoff / "processed" / "intent-a.json").exists)
    in_a_thread(watcher.stop)

    assert not watcher.running
    assert watcher.get_metrics().files_processed_total == 1


def test_a_second_start_is_refused(handoff: Path) -> None:
    """The first one goes on."""
    with Watcher(handoff, quick()) as watcher:
        with pytest.raises(ConflictError, match="runs already; stop it first"):
            watcher.start()
        drop(handoff, "intent-a.json")
        wait_until((handoff / "processed" / "intent-a.json").exists)


def test_a_stop_where_nothing_runs_does_nothing(handoff: Path) -> None:
    """Before the first start and after a stop."""
    watcher = Watcher(handoff, quick())
    watcher.stop()
    watcher.start()
    watcher.stop()
    watcher.stop()

    assert watcher.error is None


def test_two_watchers_on_two_directories(tmp_path: Path) -> None:
    """Each has its own files, numbers and functions."""
    names: dict[str, list[str]] = {"a": [], "b": []}
    for side in names:
        drop(tmp_path / side, f"intent-{side}.json")
    with (
        Watcher(tmp_path / "a", quick(lambda file: names["a"].append(file.name))) as one,
        Watcher(tmp_path / "b", quick(lambda file: names["b"].append(file.name), max_workers=2)) as other,
    ):
        wait_until(
            lambda: one.get_metrics().files_processed_total == other.get_metrics().files_processed_total == 1
        )
        assert (one.get_metrics().max_workers, other.get_metrics().max_workers) == (4, 2)

    assert names == {"a": ["intent-a.json"], "b": ["intent-b.json"]}


@pytest.mark.parametrize("settings", [{}, {"state_dir": "elsewhere"}])
def test_the_same_directory_twice_is_refused(
    tmp_path: Path, handoff: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with another state directory; the first one goes on, and its end makes room for the second."""
    monkeypatch.chdir(tmp_path)
    second = Watcher(handoff, quick(**settings))
    with Watcher(handoff, quick()) as first:
        with pytest.raises(OwnedError, match=f"is in use by the agent 'agent', process {os.getpid()}"):
            second.start()
        assert not second.running
        drop(handoff, "intent-a.json")
        wait_until(lambda: first.get_metrics().files_processed_total == 1)

    with second:
        assert second.running


def test_a_start_that_fails_leaves_nothing_behind(tmp_path: Path, handoff: Path) -> None:
    """Its error is raised where it was started; mended, it starts. Descriptors are counted after each test."""
    (tmp_path / "state").write_text("in the way")
    watcher = Watcher(handoff, quick(state_dir=tmp_path / "state"))

    with pytest.raises(ConfigError, match=r"agent.state_dir = .*: a directory is needed here|File exists"):
        watcher.start()
    assert (watcher.running, watcher.get_metrics().status) == (False, "stopped")

    (tmp_path / "state").unlink()
    with watcher:
        assert watcher.running


class InterruptedHereError(Exception):
    pass


def interrupt(number: int, frame: object) -> None:
    raise InterruptedHereError


def test_an_interrupt_of_the_start_leaves_nothing_behind(
    handoff: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the last service starts: what was started is stopped, and it can be started again."""
    start = Intake.start

    def interrupted(self: Intake, on_crash: OnCrash) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
        start(self, on_crash)

    monkeypatch.setattr(Intake, "start", interrupted)
    before = signal.signal(signal.SIGALRM, interrupt)
    watcher = Watcher(handoff, quick())
    try:
        with pytest.raises(InterruptedHereError):
            watcher.start()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert (watcher.running, watcher.error) == (False, None)

    monkeypatch.undo()
    with watcher:
        assert watcher.running


def test_no_thread_to_be_had_is_an_error_of_the_start(handoff: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing left behind either."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    watcher = Watcher(handoff, quick())
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        watcher.start()
    monkeypatch.undo()

    with watcher:
        assert watcher.running


def test_a_handler_that_cannot_be_imported_is_an_error_of_the_start(handoff: Path) -> None:
    """As in the agent."""
    watcher = Watcher(handoff, quick(handler="nowhere_at_all:handle"))

    with pytest.raises(ConfigError, match="importing nowhere_at_all failed"):
        watcher.start()


def test_commands_need_their_exit_codes(handoff: Path) -> None:
    """Where the program ignores SIGCHLD, the kernel throws them away; that is said at once."""
    watcher = Watcher(handoff, quick(command=["/bin/true", "{path}"]))
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(ConfigError, match="SIGCHLD is ignored in this program"):
            watcher.start()
        with Watcher(handoff, quick()) as one:
            assert one.running
    finally:
        signal.signal(signal.SIGCHLD, before)


def crash(self: Attempter, *arguments: object) -> None:
    raise RuntimeError("a bug of ours")


def test_a_crash_ends_the_watcher_and_not_the_program(
    handoff: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is raised where the watcher is stopped, again and again; a new start goes on with the file."""
    monkeypatch.setattr(Attempter, "run_once", crash)
    watcher = Watcher(handoff, quick())
    watcher.start()
    drop(handoff, "intent-a.json")
    wait_until(lambda: not watcher.running)

    assert isinstance(watcher.error, ServiceCrashError)
    assert watcher.get_metrics().status == "unhealthy"
    for _ in range(2):
        with pytest.raises(ServiceCrashError, match=r"worker-\d crashed: RuntimeError\('a bug of ours'\)"):
            watcher.stop()
    monkeypatch.undo()
    with watcher:
        wait_until((handoff / "processed" / "intent-a.json").exists)
        assert watcher.error is None


def run_until_it_crashes(handoff: Path, then: Exception | None = None) -> None:
    with Watcher(handoff, quick()) as watcher:
        drop(handoff, "intent-a.json")
        wait_until(lambda: not watcher.running)
        if then is not None:
            raise then


def test_a_crash_is_raised_at_the_end_of_the_with_block(
    handoff: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the block itself went well."""
    monkeypatch.setattr(Attempter, "run_once", crash)
    with pytest.raises(ServiceCrashError):
        run_until_it_crashes(handoff)


def test_a_crash_does_not_hide_the_exception_of_the_with_block(
    handoff: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """That one is raised, the crash is in the log."""
    monkeypatch.setattr(Attempter, "run_once", crash)
    with pytest.raises(KeyError, match="mine"):
        run_until_it_crashes(handoff, then=KeyError("mine"))

    assert "crashed: RuntimeError('a bug of ours')" in caplog.text


def test_a_stop_waits_no_longer_than_it_is_told(handoff: Path) -> None:
    """It goes on stopping, and a second stop waits for the rest."""
    drop(handoff, "intent-a.json")
    with held_handler() as (handle, has_file):
        watcher = Watcher(handoff, quick(handle))
        watcher.start()
        has_file.wait(10)
        with pytest.raises(TimedOutError, match=r"in is still stopping after 0.1s; stop\(\) waits on"):
            watcher.stop(timeout=0.1)
        assert watcher.running
    watcher.stop()

    assert (handoff / "processed" / "intent-a.json").exists()


@pytest.mark.slow
def test_a_handler_that_does_not_return_is_left_behind(
    handoff: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop says so; the directory stays locked until the handler is done, and then the file runs again, uncounted."""
    monkeypatch.setattr("conductor_loop.app.agent._OWN_END_SECONDS", 1.5)
    drop(handoff, "intent-a.json")
    with held_handler() as (handle, has_file):
        watcher = Watcher(handoff, quick(handle, shutdown_grace=0.1, timeout=60))
        watcher.start()
        has_file.wait(10)
        with pytest.raises(StopTimeoutError, match=r"still busy after 1.7s: workers"):
            watcher.stop()
        assert (watcher.running, watcher.get_metrics().status) == (False, "unhealthy")
        with pytest.raises(ConflictError, match="a handler of the last run has not returned yet"):
            watcher.start()
        with pytest.raises(OwnedError):
            Watcher(handoff, quick()).start()

    again: list[File] = []
    other = Watcher(handoff, quick(again.append))
    wait_until(lambda: started(other))
    wait_until((handoff / "processed" / "intent-a.json").exists)
    other.stop()
    assert [(file.name, file.attempt) for file in again] == [("intent-a.json", 1)]


def started(watcher: Watcher) -> bool:
    """
    Start a watcher if nobody else has its directory any more.
    """
    try:
        watcher.start()
    except OwnedError:
        return False
    return True


@pytest.mark.slow
def test_a_handler_past_twice_its_timeout_makes_it_unhealthy_and_nothing_more(handoff: Path) -> None:
    """Other files go on, and once it has returned all is well again."""
    drop(handoff, "intent-a.json")
    with held_handler() as (handle, has_file):

        def only_a(file: File) -> None:
            if file.name == "intent-a.json":
                handle(file)

        watcher = Watcher(handoff, quick(only_a, timeout=0.2))
        watcher.start()
        has_file.wait(10)
        wait_until(lambda: watcher.get_metrics().status == "unhealthy")
        threading.Event().wait(1.2)  # for another look of the main loop, far past twice the timeout
        assert watcher.running
        drop(handoff, "intent-b.json")
        wait_until((handoff / "processed" / "intent-b.json").exists)
    wait_until(lambda: watcher.get_metrics().status == "healthy")
    watcher.stop()

    assert (handoff / "processed" / "intent-a.json").exists()


def test_metrics_are_there_before_during_and_after(handoff: Path) -> None:
    """Zeros, the present ones, the last ones."""
    watcher = Watcher(handoff, quick(max_workers=2))
    before = watcher.get_metrics()
    drop(handoff, "intent-a.json")
    with watcher:
        wait_until(lambda: watcher.get_metrics().files_processed_total == 1)
        wait_until(lambda: watcher.get_metrics().memory_usage_bytes > 1 << 20)
        during = watcher.get_metrics()
    after = watcher.get_metrics()

    assert (before.status, before.files_processed_total, before.max_workers) == ("stopped", 0, 2)
    assert before.latency_percentiles == {"50": None, "95": None, "99": None}
    assert during.status == "healthy"
    assert before.taken_at < during.taken_at < after.taken_at
    assert (after.status, after.files_processed_total, after.active_workers) == ("stopped", 1, 0)
    assert after is watcher.get_metrics()


def test_workers_in_use_are_shown(handoff: Path) -> None:
    """As a share of all."""
    drop(handoff, "intent-a.json")
    with held_handler() as (handle, has_file):
        watcher = Watcher(handoff, quick(handle, max_workers=2))
        watcher.start()
        has_file.wait(10)
        assert watcher.get_metrics().worker_utilization == 50.0
        assert watcher.get_metrics().active_workers == 1
    watcher.stop()


def test_metrics_have_every_key_of_the_document() -> None:
    """Of all four tables, flat, and nothing twice; that of the document is the contract."""
    snapshot = scenario.live(scenario.Clock()).snapshot()
    shown = [pair for table in flat.TABLES for pair in document.metrics(snapshot)[table].items()]
    found = flat.flatten(snapshot, "healthy")

    assert set(document.metrics(snapshot)) == {*flat.TABLES, "metadata"}
    assert sorted(field.name for field in fields(Metrics)) == sorted(
        ["taken_at", "status", *(key for key, _ in shown)]
    )
    assert [(key, getattr(found, key)) for key, _ in shown] == shown


def test_metrics_are_frozen(handoff: Path) -> None:
    """What one part of a program has read, no other can change."""
    with pytest.raises(AttributeError):
        Watcher(handoff).get_metrics().queue_depth = 3  # type: ignore[misc]


def test_own_folders_are_no_entries_that_are_ignored(handoff: Path) -> None:
    """However wide the pattern is."""
    (handoff / "sub").mkdir(parents=True)
    with Watcher(handoff, quick(pattern="*", schema="none")) as watcher:
        drop(handoff, "a")
        wait_until((handoff / "processed" / "a").exists)
        wait_until(lambda: ignored(watcher) is not None)

        assert ignored(watcher) == 1


def ignored(watcher: Watcher) -> int | None:
    """
    Return how many entries intake leaves alone; None before its first scan.
    """
    assert watcher._guest
    return watcher._guest._agent.live.snapshot().gauges.ignored_entries or None
