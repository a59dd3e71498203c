# ruff: noqa: INP001 - beside the script that uses it
"""
The page about the metrics, in both forms, the kinds and the alerts.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from page import block, head, paragraphs, table, words
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from conductor_loop import __version__
from conductor_loop.metrics import document, outcomes
from conductor_loop.metrics.live import Live
from conductor_loop.metrics.prometheus import PREFIX, SURVIVES, Exposition, Format
from conductor_loop.model import Kind, Sample
from conductor_loop.work.retry import RetryPolicy

ALERTS = Path(__file__).with_name("alerts.yml")


def metrics() -> Iterator[str]:
    """
    Yield the lines of the page.
    """
    yield from head("Metrics", INTRODUCTION)
    yield from ("## JSON", "", *paragraphs(JSON))
    for section, keys in document.KEYS.items():
        yield from (f"### {section}", "")
        yield from table(
            "key | type | unit | restart | meaning",
            (
                (f"`{name}`", key.type, key.unit, _RESTART[key.survives], key.meaning)
                for name, key in keys.items()
            ),
        )
    families = _families()
    yield from ("## Prometheus", "", *paragraphs(PROMETHEUS))
    yield from block("yaml", SCRAPE)
    yield from table("metric | type | labels | restart | meaning", map(_metric, families))
    yield from ("### Labels", "")
    yield from table("label | of | values", _labels(families))
    yield from ("## Kinds", "", *paragraphs(KINDS))
    yield from table("kind | outcome | phrase | again? | meaning", _kinds())
    yield from ("## Alerts", "", *paragraphs(ALERTING))
    yield from block("yaml", ALERTS.read_text(encoding="utf-8"))


_RESTART = {True: "goes on", False: "begins anew", None: ""}


def _families() -> list[Metric]:
    """
    Return the families of an agent that has just begun, as Prometheus reads them.
    """
    live = Live(max_workers=1, command_name="porch")
    live.sample(Sample(taken_at=0, disk_free={"/var/lib/conductor-loop/handoff": 0}))
    page = Exposition(snapshot=live.snapshot, version=__version__).render(Format.TEXT).decode()
    return list(text_string_to_metric_families(page))


def _metric(family: Metric) -> tuple[str, ...]:
    name = _name(family)
    return f"`{name}`", family.type, words(_label_names(family)), _RESTART[SURVIVES.get(name)], _help(family)


def _name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _label_names(family: Metric) -> list[str]:
    return list(dict.fromkeys(name for sample in family.samples for name in sample.labels))


def _help(family: Metric) -> str:
    return family.documentation if family.documentation.endswith(".") else f"{family.documentation}."


def _labels(families: Iterable[Metric]) -> Iterator[tuple[str, str, str]]:
    of = dict[str, list[Metric]]()
    for family in families:
        for label in _label_names(family):
            of.setdefault(label, []).append(family)
    for label, found in of.items():
        values = dict.fromkeys(
            sample.labels[label] for family in found for sample in family.samples if label in sample.labels
        )
        names = words(_name(family).removeprefix(PREFIX) for family in found)
        yield f"`{label}`", names, LABELS.get(label) or words(values)


def _kinds() -> Iterator[tuple[str, ...]]:
    for outcome, kinds in outcomes.KINDS.items():
        for kind in (Kind(kind) for kind in kinds if kind in set(Kind)):
            yield f"`{kind}`", outcome, f'"{kind.phrase("NAME")}"', _again(kind), MEANINGS[kind]


def _again(kind: Kind) -> str:
    if _repeated(kind, exit_code=1):
        return "yes"
    if kind is Kind.HANDLER_ERROR:
        return "if it raises `Retry`"
    return "for `retry_exit_codes`" if _repeated(kind, exit_code=75) else "no"


def _repeated(kind: Kind, *, exit_code: int) -> bool:
    policy = RetryPolicy(
        max_attempts=2, give_up_after=1, initial_delay=1, max_delay=1, retry_exit_codes=frozenset({75})
    )
    delay = policy.decide(kind, exit_code=exit_code, attempt=1, waited_seconds=0, rng=random.Random())  # noqa: S311
    return delay is not None


INTRODUCTION = """
    What the agent does and uses, as JSON for programs and as text for Prometheus.

    | route | answers |
    |---|---|
    | `GET /metrics` | JSON; the text for Prometheus if `Accept` prefers one of its types, as Prometheus itself does |
    | `GET /metrics/prometheus` | the text for Prometheus, or OpenMetrics 1.0 if `Accept` prefers that |

    - **Nothing is counted that is not durable**: an outcome shows once it is in the database.
    - **Restart**: what *goes on* is kept in the database and falls only if that is lost. What *begins anew* counts from
      the start of the process. What has neither shows how things are now.
    - *Ran* is a file that ended as processed or failed. Rejected files never ran, vanished ones were gone before they could be taken.
    - Memory, threads, descriptors and free space are those of the last sample, one each `sample_interval` (10 s).
    - Keys and metrics may be added; none is renamed or removed.
"""

JSON = """
    Before the first file ends, numbers are 0 and percentiles `null`.
"""

PROMETHEUS = """
    Everything is there from the first scrape, with all its labels; only the paths of `disk_free_bytes` come with the
    first sample. What is not known yet is NaN. The units are in the names. Those of the process are named as usual,
    without our prefix.
"""

SCRAPE = """
scrape_configs:
  - job_name: conductor-loop
    static_configs:
      - targets: ["127.0.0.1:8080"]
"""

LABELS = {
    "kind": "one of the [kinds](#kinds) below; empty for processed files; `other` for one that a newer version knew",
    "le": "upper bounds of the buckets in seconds: 0.001 to 3600, and `+Inf`",
    "path": "`handoff_dir`, `state_dir` and `out_dir`, as configured",
    "version": "of conductor-loop",
    "python": "version of Python",
}

KINDS = """
    Why a file did not end as processed. The slug is the same in the database, in status files, in logs and as the label
    `kind`; the phrase is how the two maps under `errors` of the JSON name it, NAME being the command without its
    directory (for `porch` it is "porch command failed"). *Again?* tells whether the attempt is repeated, as long as
    `max_attempts` and `give_up_after` allow; the file gets this kind when they no longer do.
"""

MEANINGS = {
    Kind.INVALID_JSON: "No strict JSON: cut off, NaN, a byte order mark, something behind the end.",
    Kind.DUPLICATE_KEY: "A key stands twice in one object.",
    Kind.TOO_DEEP: "Nested more deeply than `max_depth`, or than the schema can be applied to.",
    Kind.TOO_LARGE: "Larger than `max_bytes`.",
    Kind.EMPTY: "Nothing in it; with a schema also: only white space.",
    Kind.NOT_UTF8: "Bytes that are no UTF-8.",
    Kind.MISSING_FIELD: "The schema asks for a field that is not there.",
    Kind.INVALID_VALUE: "A value that the schema does not allow.",
    Kind.UNKNOWN_FIELD: "A field that the schema does not know.",
    Kind.UNREADABLE: "The agent may not read it, or it is no regular file any more.",
    Kind.BAD_NAME: "The name is no UTF-8.",
    Kind.COMMAND_FAILED: "The command ended with an exit code other than 0, or cannot be called with its arguments.",
    Kind.TIMEOUT: "The command did not end within `timeout` and was ended.",
    Kind.SIGNAL: "The command was ended by a signal that the agent did not send.",
    Kind.HANDLER_ERROR: "The Python function raised an exception.",
    Kind.POISON: "The agent died three times in a row while this file was running.",
    Kind.VANISHED: "Gone from the handoff directory before it could be taken; counts in `outcomes_total` and in the map of processing errors only.",
}

ALERTING = """
    A beginning, also as a file of its own, [alerts.yml](alerts.yml).
"""
