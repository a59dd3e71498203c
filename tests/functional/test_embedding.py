"""
The agent inside other programs, each a process of its own: what it does not do to them.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import conductor_loop
from conductor_loop import __version__
from conservation import assert_conserved
from ports import free_port
from waiting import wait_until

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "embed.py"
HOWTO = ROOT / "docs" / "howto" / "embed.md"
INTENT = '{"intent_type": "scaling", "target": "cell", "namespace": "ran", "replicas": 3}'

#: what all programs begin with; the directory is their first argument, and they end by printing JSON
PRELUDE = f"""
import json, logging, os, signal, subprocess, sys, threading, time
from pathlib import Path
from conductor_loop import Config, Watcher
from waiting import wait_until

root = Path(sys.argv[1])
handoff = root / "handoff"
QUICK = dict(settle=0.01, reject_after=0.01, scan_interval=0.1, min_free=0, kill_grace=0.2, initial_delay=0.01,
             state_dir=root / "state", out_dir=root / "out")

def drop(name):
    handoff.mkdir(exist_ok=True)
    (handoff / ".dropped").write_text({INTENT!r})
    (handoff / ".dropped").rename(handoff / name)

def filed(count):
    wait_until(lambda: len(list((handoff / "processed").iterdir())) == count, 20)

def tell(**facts):
    print(json.dumps(facts), flush=True)
"""


def start(program: str, root: Path, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), **environ},
    )


def run(program: str, root: Path, *, code: int = 0, timeout: float = 60, **environ: str) -> dict[str, Any]:
    """
    Run a program to its own end; return the facts that it tells.
    """
    with start(program, root, **environ) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            process.kill()
    assert process.returncode == code, err
    facts: dict[str, Any] = json.loads(out.splitlines()[-1])
    return facts


SURROUNDINGS = """
import locale, logging, os, signal, sys, threading, warnings

def surroundings():
    umask = os.umask(0o77)
    os.umask(umask)
    root_logger = logging.getLogger()
    return {
        "handlers": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
        "wakeup": [signal.set_wakeup_fd(-1)],
        "cwd": os.getcwd(),
        "umask": umask,
        "environ": dict(os.environ),
        "switch": sys.getswitchinterval(),
        "path": list(sys.path),
        "logger": [root_logger.level, [str(handler) for handler in root_logger.handlers], root_logger.disabled],
        "library": [str(handler) for handler in logging.getLogger("conductor_loop").handlers],
        "hooks": [str(hook) for hook in (sys.excepthook, threading.excepthook, sys.unraisablehook)],
        "streams": [str(sys.stdout), str(sys.stderr)],
        "warnings": list(map(str, warnings.filters)),
        "locale": locale.setlocale(locale.LC_ALL),
        "recursion": sys.getrecursionlimit(),
    }

before = surroundings()
"""
UNTOUCHED = """
drop("intent-a.json")
with Watcher(handoff, Config(command=["/bin/true", "{path}"], metrics_port=int(os.environ["PORT"]), **QUICK)):
    filed(1)
    during = surroundings()
after = surroundings()
tell(during={key: [before[key], during[key]] for key in before if before[key] != during[key]},
     after={key: [before[key], after[key]] for key in before if before[key] != after[key]})
"""


def test_the_program_around_it_is_as_before(tmp_path: Path) -> None:
    """
    Signal handlers, directory, umask, environment, switch interval, loggers, hooks: during it and after it, and the
    import of it is part of it.
    """
    program = SURROUNDINGS + PRELUDE + UNTOUCHED

    assert run(program, tmp_path, PORT=str(free_port())) == {"during": {}, "after": {}}


IMPORTS = """
import sys
import conductor_loop
print([name for name in sys.argv[1:] if name in sys.modules], conductor_loop.__version__)
conductor_loop.Watcher
print([name for name in sys.argv[1:] if name in sys.modules][0])
"""


def test_importing_it_imports_hardly_anything() -> None:
    """
    What it is made of comes with the first use of a name.
    """
    heavy = ("sqlalchemy", "bottle", "tornado", "psutil", "watchdog", "prometheus_client", "jsonschema_rs")
    done = subprocess.run([sys.executable, "-c", IMPORTS, *heavy], capture_output=True, text=True, check=True)

    assert done.stdout == f"[] {__version__}\nsqlalchemy\n"


def test_it_has_no_name_that_it_has_not() -> None:
    """
    As any module; what it has is listed.
    """
    assert not hasattr(conductor_loop, "watcher_")
    assert set(conductor_loop.__all__) <= set(dir(conductor_loop))
    assert all(hasattr(conductor_loop, name) for name in conductor_loop.__all__)


LEAKS = """
def threads():
    return sorted(thread.name for thread in threading.enumerate())

def descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink("/proc/self/fd/" + name)
        except FileNotFoundError:
            pass
    return sorted(found.values())

def children():
    return Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()

watcher = Watcher(handoff, Config(command=["/bin/true", "{path}"], metrics_port=int(os.environ["PORT"]), **QUICK))
counts = []
for turn in range(51):
    drop(f"intent-{turn}.json")
    with watcher:
        filed(turn + 1)
    counts.append((threads(), descriptors(), children()))
tell(first=counts[0], last=counts[-1], all_same=all(count == counts[0] for count in counts),
     processed=watcher.get_metrics().files_processed_total)
"""


@pytest.mark.slow
def test_fifty_starts_and_stops_leave_no_thread_and_no_descriptor(tmp_path: Path) -> None:
    """
    Nor a child; after each of them there is what there was after the first one.
    """
    facts = run(PRELUDE + LEAKS, tmp_path, timeout=110, PORT=str(free_port()))

    assert facts["first"] == facts["last"]
    assert facts["all_same"]
    assert facts["last"][0] == ["MainThread"]
    assert facts["processed"] == 51
    assert_conserved(tmp_path, [f"intent-{turn}.json" for turn in range(51)])


OVERSTAYS = """
go = threading.Event()
def handle(file):
    go.wait(60)

drop("intent-a.json")
watcher = Watcher(handoff, Config(handler=handle, timeout=0.2, shutdown_grace=0.1, **QUICK))
watcher.start()
wait_until(lambda: watcher.get_metrics().status == "unhealthy", 20)
threading.Event().wait(1.5)  # long past twice its timeout, and for another look of the main loop
tell(running=watcher.running, status=watcher.get_metrics().status, error=repr(watcher.error))
"""


@pytest.mark.slow
def test_a_handler_that_overstays_does_not_end_the_program(tmp_path: Path) -> None:
    """
    It stays unhealthy; and the program can end in good order although the handler never returns.
    """
    assert run(PRELUDE + OVERSTAYS, tmp_path, timeout=20) == {
        "running": True,
        "status": "unhealthy",
        "error": "None",
    }


STOP_TIMES_OUT = (
    OVERSTAYS
    + """
from conductor_loop.errors import StopTimeoutError
try:
    watcher.stop()
except StopTimeoutError as error:
    tell(error=str(error), marks=(root / "state" / "running").read_text().strip())
"""
)


@pytest.mark.slow
def test_a_stop_that_a_handler_outlasts_is_an_error_and_counts_for_no_file(tmp_path: Path) -> None:
    """
    The program goes on, ends with 0, and the next one runs the file as if it had never been begun.
    """
    facts = run(PRELUDE + STOP_TIMES_OUT, tmp_path, timeout=60)
    rest = 'with Watcher(handoff, Config(command=["/bin/true", "{path}"], **QUICK)):\n    filed(1)\ntell()'

    assert facts == {"error": "still busy after 10.3s: workers", "marks": ""}
    run(PRELUDE + rest, tmp_path)
    (row,) = assert_conserved(tmp_path, ["intent-a.json"])
    assert (row["attempts"], row["interruptions"]) == (1, 0)


CHILDREN = """
drop("intent-slow.json")
own = subprocess.Popen(["sleep", "60"])
codes = []
config = Config(command=["/bin/sh", "-c", 'case "$1" in *slow*) sleep 60;; *) exit 0;; esac', "x", "{path}"],
                timeout=1.0, max_attempts=1, max_workers=2, **QUICK)
with Watcher(handoff, config) as watcher:
    for number in range(30):
        drop(f"intent-{number}.json")
        codes.append(subprocess.run(["/bin/sh", "-c", f"exit {number}"]).returncode)
    wait_until(lambda: (handoff / "failed" / "intent-slow.json").exists(), 20)
    filed(30)
alive = own.poll() is None
own.terminate()
tell(codes=codes, alive=alive, ended=own.wait())
"""


def test_children_of_the_program_are_its_own(tmp_path: Path) -> None:
    """
    It gets the exit codes of its own, and they live on while commands are killed and the watcher is stopped.
    """
    facts = run(PRELUDE + CHILDREN, tmp_path)

    assert facts == {"codes": list(range(30)), "alive": True, "ended": -signal.SIGTERM}


SIGCHLD = """
heard = []
signal.signal(signal.SIGCHLD, lambda number, frame: heard.append(number))
with Watcher(handoff, Config(command=["/bin/true", "{path}"], **QUICK)):
    for number in range(20):
        drop(f"intent-{number}.json")
    filed(20)
tell(heard=len(heard) > 0, still=signal.getsignal(signal.SIGCHLD).__name__)
"""


def test_a_program_may_handle_sigchld(tmp_path: Path) -> None:
    """
    It hears of commands as of its own children, and no exit code is lost.
    """
    assert run(PRELUDE + SIGCHLD, tmp_path) == {"heard": True, "still": "<lambda>"}
    assert {row["outcome"] for row in assert_conserved(tmp_path)} == {"processed"}


REAPER = """
def reap(number, frame):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass

signal.signal(signal.SIGCHLD, reap)
with Watcher(handoff, Config(command=["/bin/sh", "-c", "exit 3", "{path}"], **QUICK)) as watcher:
    drop("intent-a.json")
    wait_until(lambda: watcher.get_metrics().status == "degraded" or (handoff / "failed" / "intent-a.json").exists())
    status = watcher.get_metrics().status
tell(status=status, failed=(handoff / "failed" / "intent-a.json").exists())
"""


def test_a_program_that_takes_exit_codes_away_gets_no_wrong_outcome(tmp_path: Path) -> None:
    """
    Either ours is faster, or intake pauses and says so; a file whose command failed is never taken for processed.
    """
    facts = run(PRELUDE + REAPER, tmp_path)

    assert facts in ({"status": "degraded", "failed": False}, {"status": "healthy", "failed": True})
    assert not list((tmp_path / "handoff" / "processed").iterdir())


ADMINISTERED = """
(root / "agent.toml").write_text(f'[agent]\\nhandoff_dir = "{handoff}"\\nstate_dir = "{root}/state"\\n')

def admin(*command):
    argv = [sys.executable, "-m", "conductor_loop", "--config", root / "agent.toml", *command]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True).returncode

with Watcher(handoff, Config(handler=lambda file: None, **QUICK)) as watcher:
    paused = [admin("pause"), watcher.get_metrics().status]
    resumed = [admin("resume"), watcher.get_metrics().status]
    reloaded = admin("reload")
    drained = admin("drain", "--stop")
    wait_until(lambda: not watcher.running)
tell(paused=paused, resumed=resumed, reloaded=reloaded, drained=drained, error=watcher.error)
"""


@pytest.mark.slow
def test_the_command_line_reaches_it(tmp_path: Path) -> None:
    """
    As it does an agent of its own; an end asked for there ends the watcher, and not the program.
    """
    assert run(PRELUDE + ADMINISTERED, tmp_path) == {
        "paused": [0, "degraded"],
        "resumed": [0, "healthy"],
        "reloaded": 1,
        "drained": 0,
        "error": None,
    }


TWO = """
def handler(side):
    def handle(file):
        (root / "seen").mkdir(exist_ok=True)
        (root / "seen" / f"{side}-{file.name}").touch()
    return handle

sides = {side: root / side for side in "ab"}
watchers = {}
for side, path in sides.items():
    own = dict(QUICK, state_dir=path / "state", out_dir=path / "out")
    watchers[side] = Watcher(path / "handoff", Config(handler=handler(side), name=f"agent-{side}", **own))
    watchers[side].start()
for number in range(50):
    for side, path in sides.items():
        hidden = path / "handoff" / ".dropped"
        hidden.write_text((root / "intent").read_text())
        hidden.rename(path / "handoff" / f"intent-{number}.json")
wait_until(lambda: all(watcher.get_metrics().files_processed_total == 50 for watcher in watchers.values()), 20)
watchers["a"].stop()
tell(a=watchers["a"].running, b=watchers["b"].running, b_status=watchers["b"].get_metrics().status)
watchers["b"].stop()
"""


def test_two_watchers_in_one_program_know_nothing_of_each_other(tmp_path: Path) -> None:
    """
    Each has all files of its own and none of the other's; the end of one is not that of the other.
    """
    (tmp_path / "intent").write_text(INTENT)

    assert run(PRELUDE + TWO, tmp_path) == {"a": False, "b": True, "b_status": "healthy"}
    names = [f"intent-{number}.json" for number in range(50)]
    for side in "ab":
        assert_conserved(tmp_path / side, names)
    assert sorted(path.name for path in (tmp_path / "seen").iterdir()) == sorted(
        f"{side}-{name}" for side in "ab" for name in names
    )


KILLED = """
def handle(file):
    if file.name == "intent-5.json":
        os.kill(os.getpid(), signal.SIGKILL)

with Watcher(handoff, Config(handler=handle, **QUICK)):
    for number in range(10):
        drop(f"intent-{number}.json")
    threading.Event().wait(30)
"""


def test_the_next_start_goes_on_where_a_killed_program_was(tmp_path: Path) -> None:
    """
    Nothing is lost, and an agent of its own can take over as well.
    """
    with start(PRELUDE + KILLED, tmp_path) as process:
        process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    rest = (
        "with Watcher(handoff, Config(handler=lambda file: None, **QUICK)) as watcher:\n    filed(10)\ntell()"
    )
    dropped = [path.name for path in (tmp_path / "handoff").rglob("intent-*.json")]
    missing = [f"intent-{number}.json" for number in range(10) if f"intent-{number}.json" not in dropped]
    rest = "".join(f"drop({name!r})\n" for name in missing) + rest
    run(PRELUDE + rest, tmp_path)

    rows = assert_conserved(tmp_path, [f"intent-{number}.json" for number in range(10)])
    assert [row["interruptions"] for row in rows if row["name"] == "intent-5.json"] == [1]


INTERRUPTED = """
def handle(file):
    tell(began=file.name)
    threading.Event().wait(1.0)

drop("intent-a.json")
with Watcher(handoff, Config(handler=handle, **QUICK)):
    while True:
        threading.Event().wait(0.1)  # Python sees a signal that comes just before a wait only at its end
"""


def test_ctrl_c_is_the_program_s_own(tmp_path: Path) -> None:
    """
    It comes as KeyboardInterrupt, as ever; the file in hand is finished on the way out.
    """
    with start(PRELUDE + INTERRUPTED, tmp_path) as process:
        assert process.stdout
        assert json.loads(process.stdout.readline()) == {"began": "intent-a.json"}
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)

    assert process.returncode == -signal.SIGINT
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert_conserved(tmp_path, ["intent-a.json"])


TYPED = """
from conductor_loop import Config, File, FileResult, Metrics, Retry, Watcher

def handle(file: File) -> None:
    raise Retry(file.name)

def tell(result: FileResult) -> None:
    print(result.path)

with Watcher("/srv/in", Config(handler=handle, timeout=3), on_file=tell) as watcher:
    numbers: Metrics = watcher.get_metrics()
    wrong: str = numbers.queue_depth
"""


@pytest.mark.slow
def test_a_type_checker_sees_all_names(tmp_path: Path) -> None:
    """
    Although they are looked up late: the one mistake is found, and nothing else is complained of.
    """
    program = tmp_path / "program.py"
    program.write_text(TYPED)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(program)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert (ROOT / "agent" / "conductor_loop" / "py.typed").exists()
    complaints = [
        line.split(": ", 1)[1] for line in done.stdout.splitlines() if line.startswith("program.py")
    ]
    assert complaints == [
        'error: Incompatible types in assignment (expression has type "int", variable has type "str")  [assignment]'
    ]


@pytest.mark.parametrize(
    ("page", "number", "suffix", "said"),
    [
        (HOWTO, 0, "txt", "1\n"),
        (
            HOWTO,
            1,
            "json",
            "intent-a.json: command_failed: false exited with code 1; it is HANDOFF/failed/intent-a.json\n",
        ),
        (ROOT / "README.md", 0, "txt", "1\n"),
    ],
    ids=["howto", "howto-on-file", "readme"],
)
def test_what_the_pages_show_runs(page: Path, number: int, suffix: str, said: str, tmp_path: Path) -> None:
    """
    With the directory, and the program around it, put in.
    """
    block = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)[number]
    served = f"""
def serve():
    drop("intent-a.{suffix}")
    wait_until(lambda: list(handoff.glob("*ed/intent-a.{suffix}")), 20)
    wait_until(lambda: not list((handoff / "work").rglob("intent-*")))
"""
    shown = block.replace('"/srv/jobs/in"', "handoff").replace("Config(", "Config(min_free=0, ")
    with start(PRELUDE + served + shown, tmp_path) as process:
        out, err = process.communicate(timeout=30)

    assert process.returncode == 0, err
    assert out.endswith(said.replace("HANDOFF", str(tmp_path / "handoff")))


class Example:
    """
    The example as a process, and what it has printed so far.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.out = directory.with_suffix(".out")
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(EXAMPLE), str(directory), "--interval", "0.05", *options], stdout=out
            )

    def drop(self, name: str, **wanted: float) -> None:
        hidden = self.directory / ".dropped"
        hidden.write_text(json.dumps(wanted))
        hidden.rename(self.directory / name)

    def said(self, pattern: str) -> bool:
        assert self.process.poll() is None, self.out.read_text()
        return re.search(pattern, self.out.read_text(), re.MULTILINE) is not None

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def example(directory: Path, *options: str) -> Iterator[Example]:
    one = Example(directory, *options)
    try:
        wait_until(lambda: one.said("^watching "), 20)
        yield one
    finally:
        one.process.kill()
        one.process.wait()


def test_the_example_raises_no_alert_while_it_has_little_to_do(tmp_path: Path) -> None:
    """
    One of two workers in use is no alert, nor is the memory that it takes by itself.
    """
    with example(tmp_path / "in", "--workers", "2", "--memory-limit", "400") as one:
        one.drop("a.json", seconds=0.5, mebibytes=1)
        wait_until(lambda: one.said("^processed: a.json: held 1048576 bytes$"))
        assert one.stop(signal.SIGTERM) == 0

        assert one.out.read_text().splitlines()[-1] == "stopped"
        assert "ALERT" not in one.out.read_text()


@pytest.mark.slow
def test_the_example_raises_both_alerts_under_load_and_ends_them(tmp_path: Path) -> None:
    """
    Two alerts of every monitoring page: workers in use over 90 %, memory over a limit.
    """
    with example(tmp_path / "in", "--workers", "2", "--memory-limit", "200") as one:
        for name in ("a", "b"):
            one.drop(f"{name}.json", seconds=3, mebibytes=100)
        wait_until(lambda: one.said("^ALERT workers: 2 of 2 workers are busy$"))
        wait_until(lambda: one.said(r"^ALERT memory: 2\d\d MiB are in use, over 200 MiB$"))
        for name in ("workers", "memory"):
            wait_until(lambda name=name: one.said(f"^over {name}$"))
        assert one.stop(signal.SIGINT) == 0

        lines = one.out.read_text().splitlines()
        assert len([line for line in lines if line.startswith("ALERT")]) == 2
        assert len([line for line in lines if line.startswith("processed: ")]) == 2


@pytest.mark.slow
def test_the_example_ends_when_its_watcher_has_crashed(tmp_path: Path) -> None:
    """
    With the reason, so that its service manager starts it again.
    """
    with example(tmp_path / "in") as one:
        database = tmp_path / "in" / "state" / "history.db"
        database.write_bytes(b"no database any more" * 500)
        one.drop("a.json", seconds=0, mebibytes=1)

        assert one.process.wait(30) == 1
