"""
The pages about metrics, health, status files and exit codes name what there is, and nothing else.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families as parse

import scenario
from conductor_loop import errors
from conductor_loop.ledger.opening import remember
from conductor_loop.metrics import document, verdict
from conductor_loop.metrics.live import Live
from conductor_loop.metrics.outcomes import KINDS
from conductor_loop.metrics.prometheus import PREFIX, SURVIVES, Exposition, Format
from conductor_loop.metrics.snapshot import COMPONENTS, Snapshot
from conductor_loop.model import Again, Failed, Kind, PauseReason, Rejected
from conductor_loop.store.database import Store
from ledgers import Bench, running

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
ALERTS = (REFERENCE / "alerts.yml").read_text()
TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "object": (dict,),
    "null": (type(None),),
}


def section(page: str, heading: str) -> str:
    """
    Return what is below a heading, up to the next one of the same rank.
    """
    rank = heading.split(maxsplit=1)[0]
    found = re.search(
        rf"^{re.escape(heading)}\n(.*?)(?=^{rank} |\Z)",
        (REFERENCE / page).read_text(),
        re.DOTALL | re.MULTILINE,
    )
    assert found, f"{page} has no {heading!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """
    Return the cells of the tables in a text, without their headings, backticks removed.
    """
    lines = [line[2:-2] for line in text.splitlines() if line.startswith("| ") and line.endswith(" |")]
    cells = [[cell.replace("`", "") for cell in re.split(r" (?<!\\)\| ", line)] for line in lines]
    headings = {line[2:-2] for line in re.findall(r"^(\| .+ \|)\n\|-", text, re.MULTILINE)}
    return [row for row, line in zip(cells, lines, strict=True) if line not in headings]


def snapshot() -> Snapshot:
    return scenario.live(scenario.Clock()).snapshot()


def families(taken: Snapshot) -> dict[str, Metric]:
    """
    Return what Prometheus reads, by the names that it knows.
    """
    page = Exposition(snapshot=lambda: taken, version="0.1.0").render(Format.TEXT).decode()
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family for family in parse(page)
    }


def table_of_metrics() -> dict[str, list[str]]:
    text = section("metrics.md", "## Prometheus").split("### Labels")[0]
    return {row[0]: row[1:] for row in rows(text)}


def test_every_json_key_is_in_the_page_and_no_other():
    """
    In the order of the answer.
    """
    found = {name: list(keys) for name, keys in document.metrics(snapshot()).items()}
    text = section("metrics.md", "## JSON")
    parts = re.split(r"^### (.+)\n", text, flags=re.MULTILINE)[1:]
    page = {name: [row[0] for row in rows(part)] for name, part in zip(parts[::2], parts[1::2], strict=True)}

    assert page == found


@pytest.mark.parametrize("told", [True, False], ids=["scenario", "fresh"])
def test_json_values_have_the_types_that_are_documented(told: bool):
    """
    From the first answer on.
    """
    taken = snapshot() if told else Live(max_workers=4, command_name="porch").snapshot()
    found = json.loads(document.encode(document.metrics(taken)))

    for name, keys in document.KEYS.items():
        for key, meant in keys.items():
            assert type(found[name][key]) in TYPES[meant.type], f"{name}.{key} is {found[name][key]!r}"


def test_every_metric_is_in_the_page_and_no_other():
    """
    With its type and its labels.
    """
    found = {
        name: [
            family.type,
            ", ".join(dict.fromkeys(key for one in family.samples for key in one.labels)) or "-",
        ]
        for name, family in families(snapshot()).items()
    }

    assert {name: row[:2] for name, row in table_of_metrics().items()} == found


def test_every_metric_has_a_help_text_that_is_a_sentence():
    """
    It is all that a reader of the page for Prometheus has.
    """
    for name, family in families(snapshot()).items():
        assert name in table_of_metrics()
        assert re.fullmatch(r"[A-Z0-9].{9,}[^.]\.?", family.documentation), name
        assert family.documentation.endswith(".") or not name.startswith(PREFIX)


def test_every_label_is_explained_and_no_other():
    """
    With the metrics that carry it.
    """
    found: dict[str, set[str]] = {}
    for name, family in families(snapshot()).items():
        for label in {key for sample in family.samples for key in sample.labels}:
            found.setdefault(label, set()).add(name.removeprefix(PREFIX))
    page = rows(section("metrics.md", "### Labels").split("\n## ")[0])

    assert {row[0]: set(row[1].split(", ")) for row in page} == found


def work_off(bench: Bench) -> None:
    """
    Have every durable counter count, and those that begin anew as well.
    """
    bench.live._store_id = bench.store.store_id
    bench.process("intent-a.json")
    bench.process("intent-b.json", Failed(Kind.COMMAND_FAILED, "exit code 1"))
    bench.process("intent-c.json", Rejected(Kind.EMPTY, "empty"), run=None)
    bench.offer("intent-d.json")
    job = bench.take()
    bench.report(job, Again(Kind.TIMEOUT, "late", 0.0))
    bench.report(bench.take())
    bench.wait_filed(job)
    for tell in (bench.live.backpressure, bench.live.overflowed, bench.live.store_error):
        tell()


@pytest.fixture
def restarted(tmp_path: Path) -> tuple[Snapshot, Snapshot]:
    """
    Return the numbers before and after a restart.
    """
    with running(tmp_path) as bench:
        work_off(bench)
    before = bench.live.snapshot()
    store = Store.open(tmp_path / "state", now=scenario.NOW)
    memory = remember(store)
    store.close()
    live = Live(
        max_workers=1,
        command_name="porch",
        totals=memory.totals,
        recent=memory.recent,
        last_success_at=memory.last_success_at,
        store_id=store.store_id,
    )
    return before, live.snapshot()


def test_metrics_survive_a_restart_as_documented(restarted: tuple[Snapshot, Snapshot]):
    """
    What goes on shows the same as before, what begins anew shows nothing.
    """
    before, after = (
        {
            name: {(s.name, str(s.labels)): s.value for s in one.samples}
            for name, one in families(taken).items()
        }
        for taken in restarted
    )

    for name in (name for name in SURVIVES if name.startswith(PREFIX)):
        assert any(before[name].values()), f"{name} was not counted"
        if SURVIVES[name]:
            assert after[name] == before[name]
        else:
            assert not any(after[name].values()), name


def test_every_counter_says_what_a_restart_does_to_it():
    """
    Whoever computes a rate needs to know; nothing is said of metrics that do not exist.
    """
    found = families(snapshot())
    counting = {name for name, one in found.items() if one.type in {"counter", "histogram", "summary"}}

    assert counting <= SURVIVES.keys() <= found.keys()
    said = {name: row[2] for name, row in table_of_metrics().items()}
    assert {name for name, text in said.items() if text == "goes on"} == {
        n for n, on in SURVIVES.items() if on
    }
    assert {name for name, text in said.items() if text == "begins anew"} == {
        name for name, on in SURVIVES.items() if not on
    }


def test_json_keys_survive_a_restart_as_documented(restarted: tuple[Snapshot, Snapshot]):
    """
    As the metrics do.
    """
    before, after = map(document.metrics, restarted)

    for name, keys in document.KEYS.items():
        for key, meant in keys.items():
            if meant.survives:
                assert before[name][key] not in (0, "", "0s", {}), f"{name}.{key} was not counted"
                assert after[name][key] == before[name][key], f"{name}.{key}"
            elif meant.survives is False:
                assert after[name][key] in (0, "0s"), f"{name}.{key}"


def test_every_kind_is_in_the_page_with_outcome_and_phrase():
    """
    As rows, logs, labels and maps have them.
    """
    found = [
        [kind, outcome, f'"{Kind(kind).phrase("NAME")}"']
        for outcome, kinds in KINDS.items()
        for kind in kinds
        if kind in set(Kind)
    ]

    assert [row[:3] for row in rows(section("metrics.md", "## Kinds"))] == found
    assert {row[0] for row in found} == set(Kind)


def expressions() -> list[str]:
    return re.findall(r"^ +expr: (.+)$", ALERTS, re.MULTILINE)


def test_alerts_name_metrics_that_exist():
    """
    A misspelt one would never fire.
    """
    known = {sample.name for family in families(snapshot()).values() for sample in family.samples}
    named = {name for text in expressions() for name in re.findall(r"\b(?:conductor_loop|process)_\w+", text)}

    assert len(expressions()) == ALERTS.count("- alert:") > 0
    assert named
    assert named - known == set()


def test_alerts_select_labels_that_exist():
    """
    By name and by value; `job` and `instance` are Prometheus' own.
    """
    samples = [sample for family in families(snapshot()).values() for sample in family.samples]
    found = [
        (name, label, value)
        for text in expressions()
        for name, label, value in re.findall(r'(\w+)\{(\w+)=~?"([^"]*)"\}', text)
        if label != "job"
    ]

    assert found
    for name, label, value in found:
        values = {sample.labels.get(label) for sample in samples if sample.name == name}
        assert set(value.split("|")) <= values


def test_alerts_say_only_labels_that_their_expression_keeps():
    """
    Another one would stay empty in the message.
    """
    samples = [sample for family in families(snapshot()).values() for sample in family.samples]
    for alert in ALERTS.split("- alert:")[1:]:
        expression = re.findall(r"expr: (.+)", alert)[0]
        kept = re.findall(r"by \(([^)]+)\)", expression)
        named = re.findall(r"\b(?:conductor_loop|process)_\w+", expression)
        own = {label for sample in samples if sample.name in named for label in sample.labels}
        known = (
            {label for group in kept for label in group.split(", ")} if kept else own | {"instance", "job"}
        )

        assert set(re.findall(r"\$labels\.(\w+)", alert)) <= known


@pytest.mark.promtool
def test_alerts_are_rules_that_prometheus_takes():
    """
    The file can be named in prometheus.yml as it is.
    """
    checked = subprocess.run(
        ["promtool", "check", "rules", REFERENCE / "alerts.yml"], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{ALERTS.count('- alert:')} rules found" in checked.stdout


def test_status_files_have_the_keys_and_types_that_are_documented(tmp_path: Path):
    """
    Those that the ledger writes, for every outcome that has one.
    """
    page = {row[0]: row[1] for row in rows(section("status-file.md", "## Status file"))}
    with running(tmp_path) as bench:
        written = [
            bench.status(bench.process("intent-a.json")),
            bench.status(bench.process("intent-b.json", Failed(Kind.COMMAND_FAILED, "exit code 1"))),
            bench.status(
                bench.process("intent-c.json", Rejected(Kind.TOO_LARGE, "large"), run=None, sha256="")
            ),
        ]

    for found in written:
        assert list(found) == list(page)
        for key, value in found.items():
            types = {one for name in page[key].split(" or ") for one in TYPES[name]}
            assert type(value) in types, f"{key} is {value!r}"
    for key, text in page.items():
        nulls = any(found[key] is None for found in written)
        assert nulls == ("null" in text), key


def test_error_logs_have_the_lines_that_are_documented(tmp_path: Path):
    """
    Those that the ledger writes, in their order.
    """
    with running(tmp_path) as bench:
        bench.process("intent-b.json", Failed(Kind.COMMAND_FAILED, "exit code 1"))
        text = (bench.places.paths.failed / "intent-b.json.error.log").read_text()
    found = re.findall(r"^([A-Z][a-z ]+):", text, re.MULTILINE)

    assert [row[0] for row in rows(section("status-file.md", "## Error log"))] == found


def test_examples_are_what_the_program_writes():
    """
    With every key and line that the tables explain.
    """
    text = (REFERENCE / "status-file.md").read_text()
    example: dict[str, Any] = json.loads(re.findall(r"```json\n(.*?)```", text, re.DOTALL)[0])

    assert list(example) == [row[0] for row in rows(section("status-file.md", "## Status file"))]
    assert example["filed_as"] == "intent-a.json"


def test_every_key_of_health_is_in_the_page_and_no_other():
    """
    In the order of the answer.
    """
    found = verdict.document(snapshot(), version="0.1.0", config_hash="abc")

    assert [row[0] for row in rows(section("health.md", "## The answer"))] == list(found)


def test_every_component_and_pause_reason_is_in_the_page_and_no_other():
    """
    In the order of the answer.
    """
    assert {row[0] for row in rows(section("health.md", "## Components"))} == set(COMPONENTS)
    assert [row[0] for row in rows(section("health.md", "## Why intake pauses"))] == list(PauseReason)


def below(error: type[errors.ConductorError]) -> Iterator[type[errors.ConductorError]]:
    for child in error.__subclasses__():
        yield child
        yield from below(child)


def codes(text: str) -> set[int]:
    """
    Return the exit codes in the first column of a table.
    """
    return {int(code) for row in rows(text) for code in row[0].split(", ")}


def test_every_error_is_in_the_table_of_exit_codes():
    """
    With its code and its kind.
    """
    page = {(row[0], row[1]) for row in rows(section("command-line.md", "## Exit codes"))}
    known = {
        error
        for error in below(errors.ConductorError)
        if error.__module__.startswith("conductor_loop.") and error is not errors.ForcedStopError
    }

    assert {(str(error.exit_code), error.kind) for error in known} <= page
    assert len({error.kind for error in known}) == len(known)


def test_readme_and_help_name_the_same_exit_codes():
    """
    All three lists are complete.
    """
    page = codes(section("command-line.md", "## Exit codes"))
    readme = (ROOT / "README.md").read_text()
    table = re.search(r"^\| exit code \| means \|\n(?:\|.*\n)+", readme, re.MULTILINE)
    words = re.search(r"Exit codes: (.*?)\n\n", (REFERENCE / "command-line.md").read_text(), re.DOTALL)

    assert table
    assert words
    assert codes(table[0]) == page
    assert {int(code) for code in re.findall(r"\d+", words[1])} == page


def test_nan_stands_for_what_is_not_known_yet():
    """
    As the page says; everything else is there from the first scrape.
    """
    fresh = families(Live(max_workers=4, command_name="porch").snapshot())
    unknown = {
        name for name, family in fresh.items() for sample in family.samples if math.isnan(sample.value)
    }

    assert "conductor_loop_last_success_timestamp_seconds" in unknown
    assert fresh.keys() == families(snapshot()).keys()
