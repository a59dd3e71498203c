"""
The intake service on real directories, with real watchdog.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from conductor_loop.intake.hints import Hint
from conductor_loop.intake.names import NameFilter
from conductor_loop.intake.place import Place
from conductor_loop.intake.readiness import Readiness
from conductor_loop.intake.scan import CHUNK
from conductor_loop.intake.settle import Settler
from conductor_loop.model import FoundBy
from intake_ports import OpenDirectory, Running, Taker, drop, running, started
from waiting import wait_until


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """
    An empty handoff directory.
    """
    path = tmp_path / "handoff"
    path.mkdir()
    return path


def test_file_that_was_there_at_start_is_found(inbox: Path) -> None:
    """
    The backlog of a stopped agent is worked off (defect 9 of the original).
    """
    (inbox / "old.json").write_text("{}")
    with running(inbox) as run:
        run.wait_names("old.json")

    assert run.taker.arrivals[0].found_by is FoundBy.SCAN


def test_renamed_in_file_does_not_wait(inbox: Path) -> None:
    """
    A rename is the producer's word that the file is whole.
    """
    with running(inbox, settle=30.0) as run:
        run.wait_scanned()
        drop(inbox, "new.json")
        run.wait_names("new.json")

    assert run.taker.arrivals[0].found_by is FoundBy.EVENT


def test_file_written_in_place_settles_first(inbox: Path) -> None:
    """
    It is offered once unchanged for the settle time, not before.
    """
    with running(inbox, settle=0.4) as run:
        run.wait_scanned()
        (inbox / "new.json").write_text("{}")
        written = time.time_ns()
        run.wait_names("new.json")

    assert time.time_ns() - written >= 0.35e9


def test_drop_right_after_a_move_out_is_not_held_back(inbox: Path, tmp_path: Path) -> None:
    """
    Stock watchdog holds back everything for 0.5 s behind a file that left.
    """
    (inbox / "other.txt").write_text("")
    with running(inbox) as run:
        run.wait_scanned()
        (inbox / "other.txt").rename(tmp_path / "out")
        begun = time.monotonic()
        drop(inbox, "new.json")
        run.wait_names("new.json")

    assert time.monotonic() - begun < 0.4


def test_slow_writer_that_pauses_is_waited_for(inbox: Path) -> None:
    """
    Nobody takes half a file from a writer that has it open (defect 17 of the original).
    """
    script = (
        "import sys\n"
        "with open(sys.argv[1], 'w') as file:\n"
        "    for part in ('first', 'second'):\n"
        "        print(part, file=file, flush=True)\n"
        "        print(part, flush=True)\n"
        "        sys.stdin.readline()\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", script, inbox / "slow.json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    settle = 0.1
    with running(inbox, settle=settle, scan_interval=0.1) as run, writer:
        for _ in range(2):
            writer.stdout.readline()
            assert not run.taker.arrivals
            threading.Event().wait(3 * settle)
            assert not run.taker.arrivals
            writer.stdin.write(b"\n")
            writer.stdin.flush()
        run.wait_names("slow.json")

    assert run.taker.arrivals[0].identity.size == len("first\nsecond\n")


def test_renamed_in_while_open_for_writing_counts_as_written_in_place(inbox: Path, tmp_path: Path) -> None:
    """
    A rename by a producer that goes on writing proves nothing.
    """
    with running(inbox, settle=0.1) as run:
        run.wait_scanned()
        with (tmp_path / "x").open("w") as file:
            (tmp_path / "x").rename(inbox / "x.json")
            file.write("1")
            file.flush()
            threading.Event().wait(0.4)
            assert not run.taker.arrivals
            file.write("2")
        run.wait_names("x.json")

    assert run.taker.arrivals[0].identity.size == 2


def test_hard_link_is_found_by_the_scan(inbox: Path, tmp_path: Path) -> None:
    """
    `link` raises no event of ours, but the directory is the truth.
    """
    (tmp_path / "x").write_text("{}")
    with running(inbox, scan_interval=0.2) as run:
        run.wait_scanned()
        (inbox / "x.json").hardlink_to(tmp_path / "x")
        run.wait_names("x.json")

    assert run.taker.arrivals[0].found_by is FoundBy.SCAN


def test_entries_that_are_no_regular_files_are_counted_and_left_alone(inbox: Path, tmp_path: Path) -> None:
    """
    A FIFO blocked the original for ever, and it followed symlinks (defect 24).
    """
    (tmp_path / "outside").write_text("{}")
    (inbox / "link.json").symlink_to(tmp_path / "outside")
    os.mkfifo(inbox / "fifo.json")
    (inbox / "directory.json").mkdir()
    (inbox / ".hidden.json").write_text("")
    (inbox / "half.json.tmp").write_text("")
    (inbox / "good.json").write_text("{}")
    with running(inbox, scan_interval=0.1) as run:
        run.wait_names("good.json")
        drop(inbox, "late.json")
        (tmp_path / "d").mkdir()
        (tmp_path / "d").rename(inbox / "moved.json")
        wait_until(lambda: run.told.gauges.get("ignored_entries") == 4)
        run.wait_names("good.json", "late.json")


@pytest.mark.parametrize(
    "raw",
    [b"line\nbreak.json", b"\xff\xfe.json", b"x" * 250 + b".json", "größe ✓.json".encode(), b"-rf *.json"],
    ids=["newline", "invalid-utf8", "255-bytes", "unicode", "shell"],
)
def test_any_name_passes(inbox: Path, raw: bytes) -> None:
    """
    A name is bytes; events and scans give it alike.
    """
    name = os.fsdecode(raw)
    with running(inbox) as run:
        run.wait_scanned()
        drop(inbox, name)
        run.wait_names(name)
        drop(inbox, ".x")
        (inbox / ".x").rename(inbox / name)
        wait_until(lambda: len(run.taker.arrivals) == 2)

    assert [name, name] == run.taker.names


def test_backlog_goes_by_ctime_not_mtime(inbox: Path) -> None:
    """
    First come first served, although `mv` and `cp -p` keep an old mtime.
    """
    for number in range(5):
        path = inbox / f"{9 - number}.json"
        path.write_text("{}")
        os.utime(path, (1000 - number, 1000 - number))
        wait_until(lambda path=path: time.time_ns() - path.stat().st_ctime_ns > 20_000_000)
    taker = Taker(takes_from=inbox, room=1)
    with running(inbox, taker) as run:
        for count in range(1, 6):
            wait_until(lambda count=count: len(taker.arrivals) == count)
            taker.allow(1)
            run.intake.wake()

    assert taker.names == ["9.json", "8.json", "7.json", "6.json", "5.json"]


def test_name_in_hand_is_not_offered_again(inbox: Path) -> None:
    """
    The same name twice at the same time would end as a false `vanished`.
    """
    taker = Taker()
    with running(inbox, taker, scan_interval=0.1) as run:
        drop(inbox, "x.json")
        wait_until(lambda: taker.arrivals)
        drop(inbox, "x.json", "again")
        threading.Event().wait(0.5)

        assert run.taker.names == ["x.json"]


def test_same_name_dropped_while_in_hand_is_offered_when_it_is_free(inbox: Path) -> None:
    """
    A file that is dropped again is a new file (defect 13 of the original), without a scan.
    """
    taker = Taker()
    with running(inbox, taker) as run:
        run.wait_scanned()
        drop(inbox, "x.json")
        wait_until(lambda: taker.arrivals)
        drop(inbox, "x.json", "again")
        threading.Event().wait(0.1)
        taker.hands.clear()
        run.intake.wake()
        wait_until(lambda: len(taker.arrivals) == 2)

    assert taker.arrivals[1].identity.size == len("again")


def test_stale_name_of_a_claimed_file_is_not_offered(inbox: Path) -> None:
    """
    A hint that comes after the claim finds nothing and is forgotten.
    """
    with running(inbox) as run:
        run.wait_scanned()
        (inbox / "x.json").write_text("{}")
        (inbox / "x.json").unlink()
        drop(inbox, "y.json")
        run.wait_names("y.json")
        run.intake.ask_scan()
        wait_until(run.intake.idle)


def test_paused_intake_offers_nothing_and_counts_no_backpressure(inbox: Path) -> None:
    """
    A pause is no overload.
    """
    taker = Taker(takes_from=inbox)
    taker.stopped = True
    with running(inbox, taker) as run:
        run.wait_scanned()
        drop(inbox, "x.json")
        threading.Event().wait(0.2)
        assert not taker.arrivals
        assert run.told.backpressures == 0
        taker.stopped = False
        run.intake.wake()
        run.wait_names("x.json")


def test_backpressure_is_counted_once_until_all_could_be_offered(inbox: Path) -> None:
    """
    It counts how often files began to wait, not how many did.
    """
    taker = Taker(takes_from=inbox, room=2)
    for number in range(6):
        drop(inbox, f"{number}.json")
    with running(inbox, taker, settle=0.0) as run:
        for count in (2, 4, 6):
            wait_until(lambda count=count: len(taker.arrivals) == count)
            taker.allow(2)
            run.intake.wake()
        assert run.told.backpressures == 1
        taker.allow(0)
        drop(inbox, "more.json")
        wait_until(lambda: run.told.backpressures == 2)


def test_idle_once_a_scan_found_nothing(inbox: Path) -> None:
    """
    `--once` ends by it, so a file that is only offered must not look like none.
    """
    taker = Taker()
    drop(inbox, "x.json")
    with running(inbox, taker, scan_interval=0.05) as run:
        wait_until(lambda: taker.arrivals)
        threading.Event().wait(0.3)
        assert not run.intake.idle()
        (inbox / "x.json").unlink()
        taker.hands.clear()
        wait_until(run.intake.idle)
        drop(inbox, "y.json")
        wait_until(lambda: len(taker.arrivals) == 2)
        assert not run.intake.idle()


def test_gauges_tell_what_is_in_the_directory(inbox: Path) -> None:
    """
    The count of the matching files, and since when the oldest waits.
    """
    taker = Taker(room=0)
    for number in range(3):
        drop(inbox, f"{number}.json", "12345")
    with running(inbox, taker) as run:
        wait_until(lambda: run.told.gauges.get("oldest_pending_at"))
        gauges = run.told.gauges

    assert gauges["handoff_files"] == 3
    oldest = min(path.stat().st_ctime_ns for path in inbox.iterdir())
    assert gauges["oldest_pending_at"] == oldest // 1000


@pytest.mark.parametrize("how", ["deleted", "renamed", "replaced"])
def test_replaced_directory_is_watched_anew(inbox: Path, tmp_path: Path, how: str) -> None:
    """
    Watchdog itself goes silent, or reports files of the renamed directory under the old path.
    """
    with running(inbox) as run:
        run.wait_scanned()
        if how == "deleted":
            inbox.rmdir()
        else:
            inbox.rename(tmp_path / "away")
        if how != "replaced":
            wait_until(lambda: run.told.states["fsnotify_watcher"] == "degraded")
        inbox.mkdir()
        wait_until(lambda: len(run.reopen.opened) == 2)
        wait_until(lambda: run.told.states["fsnotify_watcher"] == "healthy")
        drop(inbox, "new.json")
        run.wait_names("new.json")
        run.wait_names("new.json")

    assert run.reopen.changes[0] in {"missing", "replaced"}


def test_names_of_a_renamed_directory_are_forgotten(inbox: Path, tmp_path: Path) -> None:
    """
    What is pending there is not offered as if it were in the new directory.
    """
    taker = Taker(takes_from=inbox, room=0)
    drop(inbox, "old.json")
    with running(inbox, taker) as run:
        wait_until(lambda: run.told.gauges.get("oldest_pending_at"))
        inbox.rename(tmp_path / "away")
        inbox.mkdir()
        wait_until(lambda: len(run.reopen.opened) == 2)
        taker.allow(10)
        drop(inbox, "new.json")
        run.wait_names("new.json")


def test_directory_that_comes_back_is_taken_again(inbox: Path, tmp_path: Path) -> None:
    """
    A mount that vanishes for a while costs nothing but time.
    """
    with running(inbox) as run:
        run.wait_scanned()
        inbox.rename(tmp_path / "away")
        wait_until(lambda: run.reopen.changes == ["missing"])
        drop(tmp_path / "away", "meanwhile.json")
        (tmp_path / "away").rename(inbox)
        run.wait_names("meanwhile.json")

    assert run.reopen.changes == ["missing", "back"]


def test_file_at_the_path_is_no_directory(inbox: Path) -> None:
    """
    It stays suspended until there is a directory.
    """
    with running(inbox) as run:
        run.wait_scanned()
        inbox.rmdir()
        inbox.write_text("")
        wait_until(lambda: run.told.states["fsnotify_watcher"] == "degraded")
        threading.Event().wait(0.3)
        assert len(run.reopen.opened) == 1
        inbox.unlink()
        inbox.mkdir()
        drop(inbox, "new.json")
        run.wait_names("new.json")


def test_file_that_is_written_for_ever_is_reported_and_not_taken(inbox: Path) -> None:
    """
    It is counted, which degrades health, until its writer ends.
    """
    with running(inbox, settle=0.05, settle_max=0.5, scan_interval=0.1) as run:
        with (inbox / "x.json").open("w") as file:
            file.write("1")
            file.flush()
            wait_until(lambda: run.told.gauges.get("still_written") == 1)
            assert not run.taker.arrivals
        run.wait_names("x.json")
        wait_until(lambda: run.told.gauges["still_written"] == 0)


def test_polling_finds_what_no_event_tells(inbox: Path) -> None:
    """
    Mode `poll` uses no inotify at all.
    """
    with running(inbox, watch_mode="poll", scan_interval=0.2) as run:
        run.wait_scanned()
        drop(inbox, "x.json")
        run.wait_names("x.json")

    assert run.taker.arrivals[0].found_by is FoundBy.SCAN
    assert run.told.gauges["watch_mode"] == "poll"
    assert run.told.probes == []


def test_probe_measures_the_way_of_an_event(inbox: Path) -> None:
    """
    It leaves nothing behind and is never taken, even where every name is.
    """
    with running(inbox, probe_interval=0.1, names=NameFilter("*")) as run:
        wait_until(lambda: len(run.told.probes) >= 2)

    assert all(0 <= seconds < 5 for seconds in run.told.probes)
    assert list(inbox.iterdir()) == []
    assert run.taker.arrivals == []


def test_stop_before_start_and_twice_is_harmless(inbox: Path) -> None:
    """
    A supervisor that fails half-way stops what never ran.
    """
    with running(inbox) as run:
        run.intake.request_stop()
        run.intake.request_stop()
        wait_until(lambda: not run.intake.alive)


def test_nothing_is_left_behind(inbox: Path) -> None:
    """
    Threads and descriptors end with the service.
    """
    with running(inbox) as run:  # what is loaded only once is loaded
        run.wait_scanned()
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(3):
        with running(inbox, probe_interval=0.1) as run:
            wait_until(lambda: run.told.probes)

    assert before == (len(os.listdir("/proc/self/fd")), threading.active_count())


def test_idle_intake_wakes_about_once_a_second(inbox: Path) -> None:
    """
    An agent that has nothing to do costs nothing.
    """
    with running(inbox, tick_interval=1.0) as run:
        run.wait_scanned()
        threading.Event().wait(0.3)
        begun = time.process_time()
        threading.Event().wait(1.2)
        used = time.process_time() - begun

    assert used < 0.06


def busy(stop: threading.Event) -> None:
    """
    Keep the interpreter from everybody else.
    """
    while not stop.is_set():
        sum(range(1000))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_drops_are_found_beside_busy_threads(inbox: Path) -> None:
    """
    The stock event mask loses thousands of files here (defect 8 of the original: 551 of 1,000).
    """
    count = 5_000  # the whole agent has to take 20,000 in tests/functional/test_load.py
    script = (
        "import sys, os\n"
        "for i in range(int(sys.argv[2])):\n"
        "    open(sys.argv[1] + '/.x', 'w').close()\n"
        "    os.rename(sys.argv[1] + '/.x', f'{sys.argv[1]}/{i}.json')\n"
    )
    stop = threading.Event()
    threads = [threading.Thread(target=busy, args=(stop,)) for _ in range(4)]
    with running(inbox, Taker()) as run:
        run.wait_scanned()
        for thread in threads:
            thread.start()
        try:
            subprocess.run([sys.executable, "-c", script, inbox, str(count)], check=True)
            wait_until(lambda: len(run.taker.arrivals) >= count, 240, step=0.2)
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    assert {f"{i}.json" for i in range(count)} == set(run.taker.names)


AGENT = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from intake_ports import running
path = Path(sys.argv[1])
with running(path, scan_interval=60.0) as run:
    run.wait_scanned()
    print("ready", flush=True)
    while sys.stdin.readline():
        print(len(run.taker.arrivals), len(set(run.taker.names)), run.told.overflows, flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_overflow_of_the_kernels_queue_loses_nothing(inbox: Path) -> None:
    """
    The reader stands still while more files come than the kernel keeps events for.
    """
    count = 40_000
    here = Path(__file__).parent.parent
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, inbox, here, here.parent / "agent"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert agent.stdin is not None
    assert agent.stdout is not None

    def ask() -> list[int]:
        print(file=agent.stdin, flush=True)
        return [int(number) for number in agent.stdout.readline().split()]

    with agent:
        assert agent.stdout.readline() == "ready\n"
        os.kill(agent.pid, 19)  # SIGSTOP
        try:
            for number in range(count):
                os.close(os.open(inbox / f"{number}.json", os.O_CREAT | os.O_WRONLY))
        finally:
            os.kill(agent.pid, 18)  # SIGCONT
        wait_until(lambda: ask()[0] >= count, 120, step=0.2)
        taken, distinct, overflows = ask()
        agent.stdin.close()

    assert (count, count) == (taken, distinct)
    assert overflows >= 1


def test_another_pattern_takes_other_names_from_then_on(inbox: Path) -> None:
    """
    Files that were not ours are found though no event tells of them, and those of before stay where they are.
    """
    with running(inbox, scan_interval=3600.0) as run:
        run.wait_scanned()
        drop(inbox, "a.txt")
        run.intake.configure(names=NameFilter("*.txt"), settle=0.0, settle_max=600.0, scan_interval=3600.0)
        run.wait_names("a.txt")
        drop(inbox, "b.json")
        drop(inbox, "b.txt")
        run.wait_names("a.txt", "b.txt")

    assert run.taker.names == ["a.txt", "b.txt"]


def test_another_settle_time_holds_for_files_that_wait(inbox: Path) -> None:
    """
    Nobody waits an hour because it once was an hour.
    """
    with running(inbox, settle=3600.0, scan_interval=3600.0) as run:
        run.wait_scanned()
        (inbox / "a.json").write_text("{}")
        wait_until(lambda: run.told.gauges.get("oldest_pending_at"))
        assert not run.taker.names
        run.intake.configure(names=NameFilter("*.json"), settle=0.0, settle_max=600.0, scan_interval=3600.0)
        run.wait_names("a.json")


def test_name_that_was_noticed_by_the_old_pattern_is_not_taken_by_the_new(inbox: Path) -> None:
    """
    Though its event has come and only waits to be looked at.
    """
    drop(inbox, "a.json")
    drop(inbox, "a.txt")
    run = Running(inbox, None, {})
    run.intake._hints.put("a.json", Hint.MOVED)
    run.intake.configure(names=NameFilter("*.txt"), settle=0.0, settle_max=600.0, scan_interval=60.0)
    with started(run):
        run.wait_names("a.txt")
        run.wait_scanned()

    assert run.taker.names == ["a.txt"]


def test_pass_under_way_does_not_go_on_with_the_old_pattern(inbox: Path) -> None:
    """
    What it would have found is not ours any more.
    """
    for number in range(CHUNK + 500):
        (inbox / f"{number}.txt").touch()
    handoff = OpenDirectory(inbox)
    settler = Settler(settle=0.0, observe=False, writer_has=lambda _: False)
    readiness = Readiness(dir_fd=handoff.fd, admission=Taker(), settler=settler, full=lambda: None)
    place = Place(handoff, readiness)
    first = place.scan(NameFilter("*.txt").accepts)
    place.reconsider(NameFilter("*.json").accepts, 0.0, time.monotonic())
    began = place.scanning
    while (found := place.scan(NameFilter("*.json").accepts)) is None:
        pass
    place.close()
    handoff.close()

    assert (first, began) == (None, False)
    assert found.files == 0
    assert readiness.empty
