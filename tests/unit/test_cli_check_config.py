"""
`check-config`: everything that is wrong, at once, and the code for it.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from conductor_loop import cli
from conductor_loop.cli.check_config import check_config


def check(*arguments: object) -> object:
    with pytest.raises(SystemExit) as caught:
        cli.main(["check-config", *map(str, arguments)])
    return caught.value.code


def test_all_problems_are_named_and_nothing_else_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 78, one line each on stderr."""
    path = tmp_path / "agent.toml"
    path.write_text('[agent]\nmax_workers = 0\nsettle = "soon"\n')

    assert check(path) == 78

    said = capsys.readouterr()
    assert said.out == ""
    assert [line.split(" = ")[0] for line in said.err.splitlines()] == [
        f"{path}: [agent] max_workers",
        f"{path}: [agent] settle",
    ]


def test_unknown_key_is_a_warning_unless_strict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is usable; `--strict` is for those who deploy."""
    path = tmp_path / "agent.toml"
    path.write_text("[agent]\nmax_wrokers = 1\n")

    assert check(path) == 0
    said = capsys.readouterr()
    assert said.out == f"{path}: ok\n"
    assert said.err.startswith(f"warning: {path}: [agent] max_wrokers = 1: unknown key; did you mean")
    assert check(path, "--strict") == 78


@pytest.mark.parametrize(
    "text",
    [
        '[validation]\nschema = "own.json"',
        '[processor]\nkind = "python"\nhandler = "no_such_module_at_all:handle"',
        '[processor]\nkind = "python"\nhandler = "json:no_such_function"',
        '[http]\nweb_config = "web.yml"',
        "[validation]\nmax_depth = 201",
    ],
)
def test_what_run_refuses_is_not_ok(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A schema that is none, a handler that is not there: said here already, with the file's name in front."""
    (tmp_path / "own.json").write_text('{"type": "no-such-type"}')
    path = tmp_path / "agent.toml"
    path.write_text(f"[agent]\nmax_wrokers = 1\n{text}\n")

    assert check(path) == 78

    said = capsys.readouterr()
    problem, warning = said.err.splitlines()
    assert said.out == ""
    assert problem.startswith(f"{path}: ")
    assert warning.startswith(f"warning: {path}: [agent] max_wrokers")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", None),
        ("[agent]\nmax_workers = 0", "[agent] max_workers = 0"),
        ("[validation]\nmax_depth = 201", "max_depth"),
    ],
)
def test_findings_as_json(
    tmp_path: Path, text: str, problem: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the same exit code, and nothing on stderr; whoever finds it: the loader or the parts of the agent."""
    path = tmp_path / "agent.toml"
    path.write_text(f"[ag]\nx = 1\n{text}\n")

    assert check(path, "-o", "json") == (0 if problem is None else 78)

    said = capsys.readouterr()
    found = json.loads(said.out)
    assert said.err == ""
    assert list(found) == ["version", "file", "problems", "warnings"]
    assert found["file"] == str(path)
    assert [problem in one for one in found["problems"]] == ([] if problem is None else [True])
    assert ["[ag]" in one for one in found["warnings"]] == [True]


def test_it_leaves_no_trace(tmp_path: Path) -> None:
    """Neither directories nor a database are made."""
    path = tmp_path / "agent.toml"
    path.write_text(f'[agent]\nhandoff_dir = "{tmp_path}/in"\nstate_dir = "{tmp_path}/state"\n')

    assert check(path) == 0
    assert list(tmp_path.iterdir()) == [path]


def test_shipped_configuration_is_right() -> None:
    """The one that `make run` uses."""
    assert check(Path(__file__).parents[2] / "examples" / "agent.toml", "--strict") == 0


def test_unreadable_file_gets_our_words_and_not_clicks() -> None:
    """Click would call it wrong usage; it is a matter of permission, which the loader knows."""
    paths = [option.type for command in (cli.cli, check_config) for option in command.params]

    assert [kind.readable for kind in paths if isinstance(kind, click.Path)] == [False, False]
