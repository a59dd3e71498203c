"""
The example processor: packages as valid YAML, never by halves, and clear words where it cannot.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = EXAMPLES / "porch-kpt"
SCALING = {"intent_type": "scaling", "target": "odu", "namespace": "ran", "replicas": 3}
RESOURCE = {"apiVersion": "nephoran.com/v1", "kind": "NetworkIntent", "metadata": {"name": "slice"}}


def load_script() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("porch_kpt", str(SCRIPT))
    spec = importlib.util.spec_from_loader("porch_kpt", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules["porch_kpt"] = module  # dataclasses look their module up there
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


porch_kpt = load_script()


def call(folder: Path, intent: object, *more: str) -> subprocess.CompletedProcess[str]:
    path = folder / "intent-test.json"
    path.write_text(intent if isinstance(intent, str) else json.dumps(intent))
    return subprocess.run(
        [SCRIPT, "-intent", path, "-out", folder / "out", *more], capture_output=True, text=True, check=False
    )


def packages(folder: Path) -> dict[str, Any]:
    return {
        str(path.relative_to(folder / "out")): yaml.safe_load(path.read_text("utf-8"))
        for path in sorted((folder / "out").rglob("*"))
        if path.is_file()
    }


def render(intent: dict[str, Any]) -> Any:
    return porch_kpt.render(intent)


def test_scaling_becomes_a_patch_and_a_kptfile(tmp_path: Path) -> None:
    """The whole way: called as porch is, exit 0, a package of valid YAML."""
    done = call(tmp_path, SCALING | {"reason": "traffic"})

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("scales Deployment odu in ran to 3 replicas: traffic\nwrote ")
    assert packages(tmp_path) == {
        "ran-odu/Kptfile": {
            "apiVersion": "kpt.dev/v1",
            "kind": "Kptfile",
            "metadata": {
                "name": "ran-odu",
                "annotations": {
                    "config.kubernetes.io/local-config": "true",
                    "porch-kpt/renders": "ran/odu",
                },
            },
            "info": {"description": "scales Deployment odu in ran to 3 replicas: traffic"},
            "pipeline": {
                "mutators": [
                    {
                        "image": "ghcr.io/kptdev/krm-functions-catalog/set-namespace:v0.4.1",
                        "configMap": {"namespace": "ran"},
                    }
                ]
            },
        },
        "ran-odu/deployment-patch.yaml": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "odu", "namespace": "ran"},
            "spec": {"replicas": 3},
        },
    }


@pytest.mark.parametrize("path", sorted((EXAMPLES / "intents").glob("*.json")), ids=lambda path: path.name)
def test_example_intents_are_rendered_and_the_bad_ones_refused(tmp_path: Path, path: Path) -> None:
    """The files that `make run` drops in."""
    done = call(tmp_path, path.read_text())

    assert done.returncode == (1 if "-bad-" in path.name else 0)
    assert bool(done.stderr) == bool(done.returncode)


def test_deployment_is_complete() -> None:
    """Selector and template agree, the image is the one asked for."""
    intent = SCALING | {"intent_type": "deployment", "metadata": {"image": "registry.example.net/odu:1.4"}}
    package = render(intent)

    assert package.file_name == "deployment.yaml"
    spec = package.resource["spec"]
    assert spec["replicas"] == 3
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert spec["template"]["spec"]["containers"] == [
        {"name": "odu", "image": "registry.example.net/odu:1.4"}
    ]


def test_deployment_without_image_and_replicas_has_defaults_and_says_so() -> None:
    """A minimal intent is enough."""
    package = render({"intent_type": "deployment", "target": "odu", "namespace": "ran"})

    assert package.resource["spec"]["replicas"] == 1
    assert package.summary == "deploys odu in ran from the image odu:latest"


def test_service_and_configuration() -> None:
    """The two other flat forms."""
    service = render(SCALING | {"intent_type": "service", "metadata": {"port": 8443}})
    config = render(SCALING | {"intent_type": "configuration", "metadata": {"a.b": "text", "n": {"z": 1}}})

    assert service.resource["kind"] == "Service"
    assert service.resource["spec"]["ports"] == [{"port": 8443, "targetPort": 8443, "protocol": "TCP"}]
    assert config.resource["kind"] == "ConfigMap"
    assert config.resource["data"] == {"a.b": "text", "n": '{"z": 1}'}


def test_resource_is_carried_through(tmp_path: Path) -> None:
    """Nothing is added or lost; without a namespace none is made up."""
    call(tmp_path, RESOURCE | {"spec": {"on": True, "x": [1, {"y": None}]}})
    found = packages(tmp_path)

    assert found["default-slice/networkintent.yaml"] == RESOURCE | {
        "spec": {"on": True, "x": [1, {"y": None}]}
    }
    assert "pipeline" not in found["default-slice/Kptfile"]


def test_structured_report_is_one_line_of_json(tmp_path: Path) -> None:
    """For programs: the same facts, for success and failure."""
    good = call(tmp_path, SCALING, "-structured")
    bad = call(tmp_path, {"intent_type": "scaling"}, "-structured")

    report = json.loads(good.stdout)
    assert (report["status"], report["package"]) == ("success", "ran-odu")
    assert report["files"] == ["Kptfile", "deployment-patch.yaml"]
    assert json.loads(bad.stdout)["status"] == "failed"
    assert bad.stderr.startswith("porch-kpt: namespace: missing; write ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"intent_type": "teleport"}, 'intent_type: "teleport" cannot be rendered; write one of scaling,'),
        ({"intent_type": ["scaling"]}, "intent_type: "),
        ({"namespace": "../x"}, 'namespace: "../x" cannot be rendered; write at most 63'),
        ({"namespace": "a.b"}, "namespace: "),
        ({"namespace": "ran\n"}, "namespace: "),
        ({"target": "/etc"}, "target: "),
        ({"target": ".."}, "target: "),
        ({"target": "a..b"}, "target: "),
        ({"target": "x" * 254}, "target: "),
        ({"replicas": 101}, "replicas: 101 cannot be rendered; write a whole number from 0 to 100"),
        ({"replicas": True}, "replicas: true"),
        ({"replicas": None}, "replicas: missing"),
        ({"intent_type": "service", "target": "1st"}, "target: "),
        ({"intent_type": "service", "metadata": {"port": 0}}, "metadata.port: 0"),
        ({"intent_type": "deployment", "metadata": {"image": "no image"}}, "metadata.image: "),
        ({"intent_type": "deployment", "target": "x" * 64}, "target: "),
        ({"intent_type": "configuration", "metadata": {"a/b": 1}}, "metadata.a/b: "),
        ({"intent_type": "configuration", "metadata": []}, "metadata: "),
        (RESOURCE | {"kind": "Pod"}, 'kind: "Pod" cannot be rendered; write one of NetworkIntent'),
        (RESOURCE | {"apiVersion": 1}, "apiVersion: 1"),
        (RESOURCE | {"metadata": {}}, "metadata.name: missing"),
        (RESOURCE | {"metadata": {"name": "a", "namespace": "../x"}}, "metadata.namespace: "),
    ],
)
def test_what_cannot_be_rendered_names_the_field(change: dict[str, Any], said: str) -> None:
    """And what would be right; nothing of it becomes a path."""
    with pytest.raises(porch_kpt.IntentError) as caught:
        render(SCALING | change)

    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not an intent"),
        ("[]", "write one JSON object"),
        ('{"a": 1, "a": 2}', "a key is there twice"),
        ('{"a": NaN}', "NaN is no JSON"),
        ('{"a": 1e999}', "a: a number too large"),
        ('{"a": ["\\ud800"]}', "a[0]: half of a surrogate pair"),
        ('{"' + "k" * 300 + '": 1}', "a key of 300 characters"),
        ('{"a": ' + "[" * 200 + "]" * 200 + "}", "nested deeper than 100"),
        ("[" * 100_000, "not an intent"),
        ("{}{}", "not an intent"),
        ("\ufeff{}", "not an intent"),
    ],
)
def test_what_is_no_intent_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """Strict JSON, and only what YAML gives back as it was."""
    path = tmp_path / "intent.json"
    path.write_text(text)

    with pytest.raises(porch_kpt.IntentError) as caught:
        porch_kpt.read_intent(path)

    assert said in str(caught.value)


def test_missing_intent_is_refused(tmp_path: Path) -> None:
    """With its path and the reason."""
    with pytest.raises(porch_kpt.IntentError, match=r"gone\.json: cannot be read: No such file"):
        porch_kpt.read_intent(tmp_path / "gone.json")


def test_same_intent_again_changes_nothing(tmp_path: Path) -> None:
    """Idempotent and deterministic, byte for byte."""
    call(tmp_path, SCALING)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert call(tmp_path, SCALING).returncode == 0
    after = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    assert before == after
    assert len(before) == 2


def test_another_intent_for_the_same_target_replaces_the_package(tmp_path: Path) -> None:
    """The package is what was asked for last, with nothing left of before."""
    call(tmp_path, SCALING)
    call(tmp_path, SCALING | {"intent_type": "deployment"})

    assert list(packages(tmp_path)) == ["ran-odu/Kptfile", "ran-odu/deployment.yaml"]


def test_files_of_others_in_the_package_are_kept(tmp_path: Path) -> None:
    """Only files that this program makes are its own to remove."""
    call(tmp_path, SCALING)
    (tmp_path / "out" / "ran-odu" / "README.md").write_text("mine: true")
    call(tmp_path, SCALING | {"replicas": 5})

    assert packages(tmp_path)["ran-odu/README.md"] == {"mine": True}
    assert packages(tmp_path)["ran-odu/deployment-patch.yaml"]["spec"] == {"replicas": 5}


def test_left_overs_of_a_killed_run_do_not_matter(tmp_path: Path) -> None:
    """A half-written directory is hidden, and gone after the next run."""
    left = tmp_path / "out" / ".ran-odu.new"
    left.mkdir(parents=True)
    (left / "Kptfile").write_text("half")

    assert call(tmp_path, SCALING).returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["ran-odu"]


def test_two_targets_with_one_directory_name_do_not_mix(tmp_path: Path) -> None:
    """`a-b/c` and `a/b-c` would share `a-b-c`; the second is refused."""
    call(tmp_path, SCALING | {"namespace": "a-b", "target": "c"})
    done = call(tmp_path, SCALING | {"namespace": "a", "target": "b-c"})

    assert done.returncode == 1
    assert "holds another package than a/b-c" in done.stderr
    assert packages(tmp_path)["a-b-c/deployment-patch.yaml"]["metadata"]["name"] == "c"


def test_symbolic_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    """Nothing is written outside the output directory."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "ran-odu").symlink_to(tmp_path / "elsewhere")

    assert call(tmp_path, SCALING).returncode == 1
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_output_that_cannot_be_written_now_is_tried_again(tmp_path: Path) -> None:
    """Exit code 75, which the agent repeats."""
    (tmp_path / "out").write_text("a file")
    done = call(tmp_path, SCALING)

    assert done.returncode == 75
    assert "out: cannot be written: " in done.stderr


def test_full_disk_is_tried_again(tmp_path: Path) -> None:
    """A write that fails half-way leaves no package behind."""
    path = tmp_path / "intent-test.json"
    path.write_text(json.dumps(SCALING))
    script = (
        "import resource, runpy, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, SCRIPT, "-intent", path, "-out", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 75
    assert list((tmp_path / "out").iterdir()) == []


def test_wrong_usage_is_code_2(tmp_path: Path) -> None:
    """As every command line does it."""
    assert subprocess.run([SCRIPT], capture_output=True, check=False).returncode == 2


def test_odd_reason_does_not_reach_the_terminal_raw(tmp_path: Path) -> None:
    """Control characters are shown escaped, even where the locale knows only ASCII."""
    path = tmp_path / "intent-test.json"
    path.write_text(json.dumps(SCALING | {"reason": "a\x1b[31mb\n\u00fc"}))
    done = subprocess.run(
        [SCRIPT, "-intent", path, "-out", tmp_path / "out"],
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "ascii:strict"},
    )

    assert done.returncode == 0
    assert b"a\\x1b[31mb\\n\\xfc\n" in done.stdout


ODD_TEXTS = [
    "yes",
    "no",
    "null",
    "~",
    "1e3",
    "0x1f",
    "1:20",
    "2020-01-01",
    "=",
    "<<",
    "---",
    "",
    ".nan",
    " a ",
    "a: b",
]
ODD_CHARACTERS = "\n\r\t\x00\x1b\x7f\x85\xa0\u2028\u2029\ufeff\ufffe'\"\\:#-?{}[]&*!|>%@` \U0001f600"


@pytest.mark.parametrize("odd", [*ODD_TEXTS, *ODD_CHARACTERS, ODD_CHARACTERS], ids=ascii)
def test_odd_text_is_a_string_to_yaml(odd: str) -> None:
    """As a value, in a list and as a key."""
    document = {"value": odd, "list": [odd, {odd: odd}], odd: {odd: [[odd]]}}

    assert yaml.safe_load(porch_kpt.to_yaml(document)) == document


@pytest.mark.parametrize("number", [0, -1, 10**30, 0.5, -0.0, 1e-07, 1e22, 1.5e300, 5e-324])
def test_number_stays_the_number(number: float) -> None:
    """`1e-07` without a dot would be a string to readers of YAML 1.1."""
    found = yaml.safe_load(porch_kpt.to_yaml({"n": number}))["n"]

    assert (type(found), repr(found)) == (type(number), repr(number))


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**30), max_value=10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.text(alphabet=ODD_CHARACTERS, max_size=8)
    | st.sampled_from(ODD_TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=12) | st.sampled_from(["on", "y", "a.b/c", "<<", "1"]), _json, max_size=4
    )
)
def test_yaml_gives_back_what_was_written(document: dict[str, Any]) -> None:
    """Whatever strings, keys, numbers and nestings: an independent reader sees the same."""
    text = porch_kpt.to_yaml(document)

    assert yaml.safe_load(text.encode("utf-8")) == document
