"""
Commands that are imported when they are called; help, version and completion that need none of them.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from conductor_loop import cli, config
from conductor_loop.cli.files import COMMANDS as FILES
from conductor_loop.cli.lazy import Entry, LazyGroup, commands_below

#: What help and completion of the top level are to do without.
DEAR = (
    "sqlalchemy",
    "bottle",
    "tornado",
    "tomllib",
    "http.client",
    "json",
    "logging",
    "conductor_loop.config",
)


def loaded(*arguments: str, **environ: str) -> tuple[list[str], str]:
    """
    Return which of our commands and of the dear modules a call has imported, and what it printed.
    """
    script = (
        "import sys\n"
        "from conductor_loop.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    print(*sorted(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], **environ},
    )
    modules = set(done.stderr.split())
    light = {f"conductor_loop.cli.{name}" for name in ("lazy", "streams")}
    ours = {name for name in modules if name.startswith("conductor_loop.cli.")} - light
    return sorted(ours | (modules & set(DEAR))), done.stdout


def leaves(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    yield path.strip(), command
    for name, below in commands_below(command).items():
        yield from leaves(below, f"{path} {name}")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"]])
def test_help_and_version_import_no_command(arguments: list[str]) -> None:
    """Nor the configuration, nor anything else that takes its time."""
    assert loaded(*arguments)[0] == []


def test_completion_of_commands_imports_no_command() -> None:
    """A shell asks at every press of the tab key."""
    modules, out = complete("conductor-loop re", 1)

    assert modules == []
    assert out.split() == ["plain,reload", "plain,resume"]


def test_completion_of_options_imports_only_their_command() -> None:
    """With what it needs itself, and without any library of the agent."""
    modules, out = complete("conductor-loop files retry --d", 3)

    assert out.split() == ["plain,--dry-run"]
    assert {"conductor_loop.cli.files", "conductor_loop.cli.files_retry"} <= set(modules)
    assert not {"conductor_loop.cli.status", "http.client", "sqlalchemy", "bottle"} & set(modules)


EVERY_HELP = """
import os, sys
from conductor_loop import cli
dear = sys.argv[1].split()
for path in sys.argv[2:]:
    words = f"conductor-loop {path} --"
    for arguments, variables in (
        ([*path.split(), "--help"], {}),
        ([], {"_CONDUCTOR_LOOP_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(path.split()) + 1)}),
    ):
        os.environ.update(variables)
        try:
            cli.main(arguments)
        except SystemExit as end:
            found = [name for name in dear if name in sys.modules]
            if end.code or found:
                sys.exit(f"{path} {arguments}: {end.code} {found}")
        for name in variables:
            del os.environ[name]
"""


def test_help_and_options_of_every_command_are_quick() -> None:
    """None of them imports the configuration, the words of the domain or a library of the agent."""
    paths = [path for path, _ in leaves(cli.cli) if path]
    dear = (
        *(name for name in DEAR if name != "json"),
        "conductor_loop.model",
        "conductor_loop.metrics",
        "socket",
    )
    done = subprocess.run(
        [sys.executable, "-c", EVERY_HELP, " ".join(dear), *paths],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage: conductor-loop ") == done.stdout.count("plain,--help") == len(paths)


def complete(words: str, place: int) -> tuple[list[str], str]:
    return loaded(_CONDUCTOR_LOOP_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(place))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """That names our program."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["completion", shell])

    assert caught.value.code == 0
    assert f"_CONDUCTOR_LOOP_COMPLETE={shell}_complete" in capsys.readouterr().out


@pytest.mark.slow
def test_bash_completes_with_the_script() -> None:
    """The whole way: the script, the shell's variables, our answer."""
    if not shutil.which("bash"):
        pytest.skip("needs bash")
    bin_dir = os.path.dirname(sys.executable)
    words = (
        'eval "$(conductor-loop completion bash)"; COMP_WORDS=(conductor-loop files sh); COMP_CWORD=2; '
        '_conductor_loop_completion conductor-loop; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", words],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{bin_dir}:{os.environ['PATH']}"},
    )

    assert done.stdout == "show\n"


@pytest.mark.parametrize("group", [cli.COMMANDS, FILES], ids=["all", "files"])
def test_help_of_the_table_is_that_of_the_commands(group: tuple[Entry, ...]) -> None:
    """The first sentence of each; nobody has to keep them alike by hand."""
    commands = (
        commands_below(cli.cli) if group is cli.COMMANDS else commands_below(commands_below(cli.cli)["files"])
    )

    for entry in group:
        text = inspect.cleandoc(commands[entry.name].help or "")
        assert re.split(r"(?<=\.)\s", text)[0].replace("\n", " ") == entry.help
        assert commands[entry.name].name == entry.name
    assert sorted(commands) == [entry.name for entry in group]


def test_help_shows_the_whole_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Each command with its sentence, uncut where it fits into 80 columns."""
    with pytest.raises(SystemExit):
        cli.main(["--help"])

    said = capsys.readouterr().out
    assert all(f"  {entry.name} " in said for entry in cli.COMMANDS)
    assert "Have the running agent read its configuration again." in said


def test_misspelt_command_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    """Though no command was imported yet."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["statu"])

    assert caught.value.code == 2
    assert "status" in capsys.readouterr().err


def test_log_levels_are_those_of_the_configuration() -> None:
    """The command line has them written out, as the configuration is too dear for a help text."""
    option = next(option for option in cli.cli.params if option.name == "log_level")

    assert isinstance(option.type, click.Choice)
    assert tuple(option.type.choices) == config.LOG_LEVELS


def test_every_command_that_prints_facts_prints_json() -> None:
    """And one value of it alone."""
    silent = {"run", "completion"}
    commands = {
        path: command
        for path, command in leaves(cli.cli)
        if not isinstance(command, click.Group) and path not in silent
    }

    for path, command in commands.items():
        options = {name for option in command.params for name in option.opts}
        assert {"-o", "--output", "--field"} <= options, path


def test_everything_that_changes_something_can_be_tried_dry() -> None:
    """By the same option everywhere."""
    changing = {"pause", "resume", "drain", "reload", "files retry", "db backup", "db upgrade"}
    commands = dict(leaves(cli.cli))

    for path in changing:
        assert "--dry-run" in {name for option in commands[path].params for name in option.opts}, path


def test_group_without_table_is_an_ordinary_one() -> None:
    """Commands may be added to a group as always."""
    group = LazyGroup("x", table=())
    group.add_command(click.Command("y"))

    assert list(commands_below(group)) == ["y"]
