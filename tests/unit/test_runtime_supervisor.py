"""
The races of a life: start half-way, stop before start, crash, second signal, late end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from conductor_loop.errors import ServiceCrashError, StopTimeoutError
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.runtime.service import OnCrash, ThreadService
from conductor_loop.runtime.supervisor import Supervisor

AGENT_ROOT = Path(__file__).parent.parent.parent / "agent"


class Noted:
    """
    A service that writes down what is done to it.
    """

    def __init__(self, name: str, notes: list[str], *, late: bool = False, fails: bool = False) -> None:
        self.name = name
        self.deadlines: list[Deadline] = []
        self.on_crash: OnCrash | None = None
        self._notes = notes
        self._late = late
        self._fails = fails

    def start(self, on_crash: OnCrash) -> None:
        if self._fails:
            raise RuntimeError(f"{self.name} cannot start")
        self.on_crash = on_crash
        self._notes.append(f"+{self.name}")

    def request_stop(self) -> None:
        self._notes.append(f"-{self.name}")

    def join(self, deadline: Deadline) -> bool:
        self._notes.append(f".{self.name}")
        self.deadlines.append(deadline)
        return not self._late


def waiter(name: str) -> ThreadService:
    """
    Return a service that is a real thread.
    """
    return ThreadService(name, lambda stop: stop.wait(20) and None)


def crasher(name: str) -> ThreadService:
    def body(stop: threading.Event) -> None:
        raise LookupError("lost")

    return ThreadService(name, body)


def test_grace_can_be_changed_until_the_stop_begins() -> None:
    """
    The time that a stop may take is that of its beginning.
    """
    service = Noted("a", [])
    supervisor = Supervisor([service], grace=5)
    supervisor.start()
    supervisor.set_grace(500)
    supervisor.stop()

    assert service.deadlines[0].remaining() > 400


def test_services_start_in_order_and_stop_in_reverse_against_one_deadline() -> None:
    """
    Nothing new comes in while work in hand ends; and they share the time, instead of each having it.
    """
    notes: list[str] = []
    services = [Noted(name, notes) for name in "abc"]
    supervisor = Supervisor(services, grace=5)
    supervisor.start()
    supervisor.stop()

    assert notes == ["+a", "+b", "+c", "-c", ".c", "-b", ".b", "-a", ".a"]
    assert len({deadline.at for service in services for deadline in service.deadlines}) == 1


def test_start_and_stop_tell_when_they_are() -> None:
    """
    `on_start` follows the last start, `on_stop` comes before the first stop.
    """
    notes: list[str] = []
    supervisor = Supervisor(
        [Noted("a", notes)],
        grace=5,
        on_start=lambda: notes.append("on_start"),
        on_stop=lambda: notes.append("on_stop"),
    )
    supervisor.start()
    supervisor.stop()

    assert notes == ["+a", "on_start", "on_stop", "-a", ".a"]


def test_start_that_fails_half_way_stops_what_was_started_and_raises() -> None:
    """
    The one that failed may be half started; those behind it were not.
    """
    notes: list[str] = []
    services = [Noted("a", notes), Noted("b", notes), Noted("c", notes, fails=True), Noted("d", notes)]
    supervisor = Supervisor(services, grace=5)

    with pytest.raises(RuntimeError, match="c cannot start"):
        supervisor.start()
    assert notes == ["+a", "+b", "-c", ".c", "-b", ".b", "-a", ".a"]


def test_crash_in_any_service_ends_the_waiting_with_its_cause() -> None:
    """
    A dead service under a living agent is the worst of all states.
    """
    supervisor = Supervisor([waiter("a"), crasher("b"), waiter("c")], grace=5)
    supervisor.start()
    reason = supervisor.wait()
    supervisor.stop()

    assert isinstance(reason, ServiceCrashError)
    assert str(reason) == "b crashed: LookupError('lost')"
    assert isinstance(reason.__cause__, LookupError)


def test_run_raises_the_crash_after_everything_was_stopped() -> None:
    """
    The exit code is that of a crash, the rest ends in order.
    """
    notes: list[str] = []
    supervisor = Supervisor([Noted("a", notes), crasher("b")], grace=5)

    with pytest.raises(ServiceCrashError) as caught:
        supervisor.run()
    assert caught.value.exit_code == 70
    assert isinstance(caught.value.__cause__, LookupError)
    assert notes == ["+a", "-a", ".a"]


def test_crash_is_raised_even_if_a_service_is_late_as_well() -> None:
    """
    The crash is the cause, being late its consequence.
    """
    supervisor = Supervisor([Noted("a", [], late=True), crasher("b")], grace=0)

    with pytest.raises(ServiceCrashError, match="b crashed"):
        supervisor.run()


def test_crash_that_the_beat_reports_ends_the_waiting() -> None:
    """
    The main thread watches over what cannot crash by itself.
    """

    def beat() -> None:
        raise ServiceCrashError("stuck")

    supervisor = Supervisor([], grace=5, beat=beat)
    supervisor.start()

    assert str(supervisor.wait()) == "stuck"


def test_beat_comes_about_once_a_second() -> None:
    """
    It says that the main loop ticks.
    """
    beats: list[float] = []

    def beat() -> None:
        beats.append(time.monotonic())
        supervisor.request_stop("enough")

    supervisor = Supervisor([], grace=5, beat=beat)
    supervisor.start()
    began = time.monotonic()

    assert supervisor.wait() == "enough"
    assert 0.9 < beats[0] - began < 5


def test_stop_before_start_is_not_lost() -> None:
    """
    Who asked for the end while the agent was starting is answered.
    """
    notes: list[str] = []
    supervisor = Supervisor([Noted("a", notes)], grace=5)
    supervisor.request_stop("early")
    supervisor.run()

    assert notes == ["+a", "-a", ".a"]


def test_first_reason_counts() -> None:
    """
    What comes later may be its consequence.
    """
    supervisor = Supervisor([], grace=5)
    supervisor.request_stop("first")
    supervisor.request_stop("second")

    assert supervisor.wait() == "first"


def test_late_services_can_be_waited_for() -> None:
    """
    Who goes on without the end of the process has to know when they are gone.
    """
    go_on = threading.Event()
    supervisor = Supervisor(
        [waiter("a"), ThreadService("b", lambda stop: go_on.wait(20) and None)], grace=0.1
    )
    supervisor.start()

    with pytest.raises(StopTimeoutError, match="b"):
        supervisor.stop()
    assert not supervisor.join_late(Deadline.after(0))
    go_on.set()
    assert supervisor.join_late(Deadline.after(10))


def test_crash_while_stopping_is_told_once() -> None:
    """
    Among whatever else was asked for meanwhile.
    """
    service = Noted("a", [])
    supervisor = Supervisor([service], grace=5)
    supervisor.start()
    assert supervisor.take_crash() is None
    supervisor.request_stop("asked")
    assert service.on_crash
    service.on_crash("a", LookupError("lost"))
    supervisor.stop()

    assert str(supervisor.take_crash()) == "a crashed: LookupError('lost')"
    assert supervisor.take_crash() is None


def test_late_services_are_named() -> None:
    """
    The others are waited for all the same.
    """
    notes: list[str] = []
    services = [
        Noted("a", notes),
        Noted("b", notes, late=True),
        Noted("c", notes),
        Noted("d", notes, late=True),
    ]
    supervisor = Supervisor(services, grace=0.25)
    supervisor.start()

    with pytest.raises(StopTimeoutError, match=r"^still busy after 0\.25s: d, b$"):
        supervisor.stop()
    assert notes[-2:] == ["-a", ".a"]


def test_stop_twice_stops_once() -> None:
    """
    An embedding program may close in `finally` what it has closed before.
    """
    notes: list[str] = []
    supervisor = Supervisor([Noted("a", notes)], grace=5)
    supervisor.start()
    supervisor.stop()
    supervisor.stop()

    assert notes == ["+a", "-a", ".a"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_run_and_handlers_are_as_before(number: signal.Signals) -> None:
    """
    An embedding program finds its handlers again.
    """
    caught: list[int] = []
    before = {
        each: signal.signal(each, lambda n, frame: caught.append(n))
        for each in (signal.SIGTERM, signal.SIGINT)
    }
    ours = {each: signal.getsignal(each) for each in before}
    notes: list[str] = []
    try:
        supervisor = Supervisor([Noted("a", notes)], grace=5, on_start=lambda: os.kill(os.getpid(), number))
        supervisor.run()

        assert {each: signal.getsignal(each) for each in before} == ours
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert notes == ["+a", "-a", ".a"]
    assert caught == []


def test_handlers_are_as_before_when_the_start_fails() -> None:
    """
    Whatever ends `run`.
    """
    before = signal.getsignal(signal.SIGTERM)

    with pytest.raises(RuntimeError):
        Supervisor([Noted("a", [], fails=True)], grace=5).run()
    assert signal.getsignal(signal.SIGTERM) is before


SECOND_SIGNAL = """
import sys
sys.path.insert(0, sys.argv[1])
from conductor_loop.errors import ForcedStopError
from conductor_loop.runtime.service import ThreadService
from conductor_loop.runtime.supervisor import Supervisor

busy = ThreadService("busy", lambda stop: stop.wait() and __import__("threading").Event().wait(60))
supervisor = Supervisor(
    [busy],
    grace=60,
    on_start=lambda: print("started", flush=True),
    on_stop=lambda: print("stopping", flush=True),
    force=lambda: print("forced", flush=True),
)
try:
    supervisor.run()
except ForcedStopError as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_forces_the_end(second: signal.Signals) -> None:
    """
    The first waits for what runs; the second calls `force` and waits for nothing.
    """
    began = time.monotonic()
    agent = subprocess.Popen(
        [sys.executable, "-c", SECOND_SIGNAL, AGENT_ROOT], stdout=subprocess.PIPE, text=True
    )
    with agent:
        assert agent.stdout is not None
        try:
            assert agent.stdout.readline() == "started\n"
            agent.send_signal(signal.SIGTERM)
            assert agent.stdout.readline() == "stopping\n"
            agent.send_signal(second)
            told = agent.stdout.read()
            code = agent.wait(30)
        finally:
            agent.kill()

    assert told == f"forced\nsecond signal ({second.name}): stopped at once\n"
    assert code == 128 + second
    assert time.monotonic() - began < 30


def test_no_thread_outlives_a_stop() -> None:
    """
    Of real services, started and stopped.
    """
    before = set(threading.enumerate())
    supervisor = Supervisor([waiter(name) for name in "abc"], grace=10)
    supervisor.start()
    assert len(set(threading.enumerate()) - before) == 3
    supervisor.stop()

    assert set(threading.enumerate()) == before
