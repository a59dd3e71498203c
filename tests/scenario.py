"""
One fixed story told to the live numbers; run as a script, it writes the texts in tests/data anew.
"""

from __future__ import annotations

from pathlib import Path

from conductor_loop.metrics import counting, document
from conductor_loop.metrics.live import Live
from conductor_loop.metrics.prometheus import Exposition, Format
from conductor_loop.model import Finished, Kind, Outcome, PauseReason, Sample

NOW = 1_795_000_000_000_000
DATA = Path(__file__).parent / "data"
TEXTS = {Format.TEXT: DATA / "metrics.prom", Format.OPENMETRICS: DATA / "metrics.openmetrics"}

_ENDS = (
    (Outcome.PROCESSED, None, 0.25, 0.004),
    (Outcome.PROCESSED, None, 0.75, 0.5),
    (Outcome.PROCESSED, None, 2.5, 61.0),
    (Outcome.FAILED, Kind.COMMAND_FAILED, 0.5, 0.002),
    (Outcome.FAILED, Kind.TIMEOUT, 30.0, 7200.0),
    (Outcome.REJECTED, Kind.INVALID_JSON, None, None),
    (Outcome.REJECTED, Kind.INVALID_JSON, None, None),
    (Outcome.REJECTED, Kind.MISSING_FIELD, None, None),
    (Outcome.VANISHED, Kind.VANISHED, None, None),
)


class Clock:
    """
    A monotonic clock that goes when told.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def ended(
    number: int, outcome: Outcome, kind: Kind | None, duration: float | None, wait: float | None
) -> Finished:
    """
    Return a file's end, `number` seconds after `NOW`.
    """
    return Finished(
        number=number,
        outcome=outcome,
        kind=kind,
        finished_at=NOW + number * 1_000_000,
        duration=duration,
        wait=wait,
    )


def processed(number: int, duration: float = 1.0) -> Finished:
    """
    Return the end of a processed file.
    """
    return ended(number, Outcome.PROCESSED, None, duration, 0.1)


def live(monotonic: Clock) -> Live:
    """
    Return live numbers of which something of everything was told.
    """
    told = Live(
        max_workers=4,
        command_name="porch",
        totals={counting.discovered_key("event"): 7, counting.discovered_key("scan"): 2},
        store_id="0123456789",
        monotonic=monotonic,
        now=lambda: NOW + 100_000_000,
    )
    told.phase("running")
    monotonic.now += 90.5
    told.beat()
    _tell_ends(told)
    _tell_gauges(told)
    return told


def _tell_ends(told: Live) -> None:
    finished = [ended(number, *end) for number, end in enumerate(_ENDS, start=1)]
    totals = {counting.RETRIES: 3, counting.TIMEOUTS: 2, counting.STATUS_FILES: 8}
    for end in finished:
        counting.count(totals, end)
    told.publish(totals, finished, 0.0125)


def _tell_gauges(told: Live) -> None:
    told.queue_depth = 5
    told.set(retry_waiting=1, handoff_files=12, ignored_entries=2, watch_mode="inotify")
    told.set(oldest_pending_at=NOW, store_bytes=98304, history_oldest_at=NOW - 5_000_000)
    told.directory_bytes(4096)
    free = {"/var/lib/handoff": 5_000_000_000, "/var/lib/\udcff": 4_000_000_000}
    told.sample(
        Sample(taken_at=NOW, memory_bytes=50_000_000, threads=9, fds=23, cpu_percent=1.5, disk_free=free)
    )
    told.worker_busy(+1)
    told.backpressure()
    told.overflowed()
    told.store_error()
    told.probe(0.0015)
    told.pause(PauseReason.OPERATOR, "paused by root")
    told.health("metrics", "unhealthy", "port 8080 is taken")
    told.warn("sqlite", "SQLite is old")


def metrics_json() -> bytes:
    """
    Return the scenario's `GET /metrics`.
    """
    return document.encode(document.metrics(live(Clock()).snapshot()))


def exposition(form: Format) -> str:
    """
    Return the scenario for Prometheus, without what differs from process to process.
    """
    page = Exposition(snapshot=live(Clock()).snapshot, version="0.1.0").render(form).decode()
    lines = [
        line for line in page.splitlines(keepends=True) if " process_" not in f" {line}".replace("{", " ")
    ]
    return "".join(line for line in lines if "build_info{" not in line)


if __name__ == "__main__":
    (DATA / "metrics.json").write_bytes(metrics_json())
    for form, path in TEXTS.items():
        path.write_text(exposition(form))
