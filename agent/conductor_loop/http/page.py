"""
The page at `/`: the live state in plain HTML, without scripts and without requests to anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape

from conductor_loop import clock
from conductor_loop.metrics import verdict
from conductor_loop.metrics.snapshot import PERCENTILES, Snapshot

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 44rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; width: 100%; }
td, th { border-bottom: 1px solid #ccc; padding: .3rem .6rem; text-align: left; vertical-align: top; }
.healthy { color: #17692c; } .degraded { color: #8a5a00; } .unhealthy { color: #b3141d; }
@media (prefers-color-scheme: dark) {
  body { background: #16181c; color: #e4e6ea; } a { color: #8ab8ff; } td, th { border-color: #3a3e46; }
  .healthy { color: #6fd08c; } .degraded { color: #f0b95a; } .unhealthy { color: #ff8b8b; }
}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

#: Nothing may be loaded, framed or sent from this page; its own style sheet is let in by its hash.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

_LINKS = (
    ("/metrics", "metrics as JSON"),
    ("/metrics/prometheus", "metrics for Prometheus"),
    ("/health", "health"),
    ("/health/live", "liveness"),
    ("/health/ready", "readiness"),
)


def render(snapshot: Snapshot, *, version: str) -> bytes:
    """
    Return the page, which a browser loads again every five seconds.
    """
    found, name = verdict.assess(snapshot), escape(snapshot.agent_name)
    uptime = clock.duration_text(round(snapshot.uptime))
    parts = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>conductor-loop {name}</title>",
        '<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="5">',
        f"<style>{_STYLE}</style></head><body><h1>conductor-loop {name}</h1>",
        f'<p><strong class="{found.status}">{found.status}</strong>, {snapshot.phase}, up {uptime}, ',
        f"version {escape(version)}, {clock.rfc3339(snapshot.taken_at)}</p>",
        _notices(snapshot),
        _table(_counts(snapshot)),
        _components(found),
        "<ul>",
        *(f'<li><a href="{path}">{text}</a></li>' for path, text in _LINKS),
        "</ul></body></html>\n",
    )
    return "".join(parts).encode("utf-8", "backslashreplace")


def _notices(snapshot: Snapshot) -> str:
    paused = [
        f"Intake is paused since {clock.rfc3339(pause.since)} ({reason}): {pause.message}"
        for reason, pause in snapshot.pauses.items()
    ]
    return "".join(f"<p>{escape(text)}</p>" for text in (*paused, *snapshot.warnings.values()))


def _counts(snapshot: Snapshot) -> Iterable[tuple[str, str]]:
    yield "processed", str(snapshot.files_processed_total)
    yield "failed", str(snapshot.files_failed_total)
    yield "rejected", str(snapshot.validation_failures_total)
    yield "in the handoff directory", str(snapshot.gauges.handoff_files)
    yield "ready to run", str(snapshot.queue_depth)
    yield "waiting for the next attempt", str(snapshot.gauges.retry_waiting)
    yield "workers busy", f"{snapshot.active_workers} of {snapshot.max_workers}"
    yield "files per second, last minute", f"{snapshot.throughput_files_per_sec:.2f}"
    for percent in PERCENTILES:
        seconds = snapshot.latency_percentiles[percent]
        yield f"run time, p{percent}", "-" if seconds is None else clock.duration_text(seconds)


def _table(rows: Iterable[tuple[str, str]]) -> str:
    lines = (f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{''.join(lines)}</table>"


def _components(found: verdict.Verdict) -> str:
    lines = (
        f'<tr><td>{name}</td><td class="{one.state}">{one.state}</td><td>{escape(one.message)}</td></tr>'
        for name, one in found.components.items()
    )
    return f"<table>{''.join(lines)}</table>"
