#!/usr/bin/env python3
"""
A program with conductor-loop inside, which watches over it: it says when nearly all workers are busy, and when it needs
too much memory.

    examples/embed.py DIRECTORY [--workers 4] [--memory-limit 256] [--interval 1]

Drop `{"seconds": 3, "mebibytes": 50}` as anything.json into the directory: it is "worked on" for so long, and takes so much
memory meanwhile. Ctrl-C or SIGTERM ends the program once that is done.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading

from conductor_loop import Config, File, FileResult, Metrics, Watcher

BUSY_PERCENT = 90.0


def work(file: File) -> str:
    """
    Take up as much time and memory as the file says.
    """
    wanted = json.loads(file.data)
    held = bytearray(wanted["mebibytes"] << 20)
    threading.Event().wait(wanted["seconds"])
    return f"held {len(held)} bytes"


def alerts(metrics: Metrics, memory_limit: int) -> dict[str, str]:
    """
    Return what is to be told of these numbers, by the name of the alert.

    Args:
        memory_limit: bytes.
    """
    found = {}
    if metrics.worker_utilization > BUSY_PERCENT:
        found["workers"] = f"{metrics.active_workers} of {metrics.max_workers} workers are busy"
    if metrics.memory_usage_bytes > memory_limit:
        found["memory"] = f"{metrics.memory_usage_bytes >> 20} MiB are in use, over {memory_limit >> 20} MiB"
    return found


def show(result: FileResult) -> None:
    """
    Say how a file ended.
    """
    print(f"{result.outcome}: {result.name}: {result.message}", flush=True)


def watch_over(watcher: Watcher, memory_limit: int, interval: float) -> None:
    """
    Say when an alert begins and when it ends, for as long as the watcher runs.
    """
    raised: dict[str, str] = {}
    pause = threading.Event()
    while watcher.running:
        found = alerts(watcher.get_metrics(), memory_limit)
        for name in found.keys() - raised.keys():
            print(f"ALERT {name}: {found[name]}", flush=True)
        for name in raised.keys() - found.keys():
            print(f"over {name}", flush=True)
        raised = found
        pause.wait(interval)


def main() -> None:
    """
    Run until somebody ends it.
    """
    parser = argparse.ArgumentParser(description="Run conductor-loop inside a program that watches over it.")
    parser.add_argument("directory")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--memory-limit", type=int, default=256, metavar="MIB")
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS")
    options = parser.parse_args()
    config = Config(
        handler=work,
        max_workers=options.workers,
        pattern="*.json",
        schema="none",
        sample_interval=1,  # seconds; a look at memory is as fresh as its last sample
    )
    # Signals are the program's own: so SIGTERM does what Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Watcher(options.directory, config, on_file=show) as watcher:
            print(f"watching {options.directory}", flush=True)
            watch_over(watcher, options.memory_limit << 20, options.interval)
    except KeyboardInterrupt:
        print("stopped", flush=True)


if __name__ == "__main__":
    main()
