# ruff: noqa: INP001 - a script beside what it writes
"""
Writes the pages of the reference that are made from the code: `make docs`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from conductor_loop.cli import cli
from conductor_loop.config import KEYS, SECTIONS, Key, forms
from conductor_loop.metrics.verdict import RULES

HERE = Path(__file__).parent
NOTE = "<!-- Made from the code by `make docs`; do not edit. -->"


def pages() -> dict[str, str]:
    """
    Return the text of each generated page by its file name.
    """
    return {
        "configuration.md": "\n".join(configuration()),
        "command-line.md": "\n".join(command_line()),
        "health.md": "\n".join(health()),
    }


def configuration() -> Iterator[str]:
    """
    Yield the lines of the page about the configuration.
    """
    yield from ("# Configuration", "", NOTE, "", inspect.cleandoc(CONFIGURATION), "")
    for section, cls in SECTIONS.items():
        yield from (f"## [{section}]", "", inspect.cleandoc(cls.__doc__ or ""), "")
        yield from ("| key | default | form | meaning |", "|---|---|---|---|")
        yield from (_key(key) for key in KEYS.values() if key.section == section)
        yield ""


CONFIGURATION = """
    A TOML file, named with `--config`, or `/etc/conductor-loop/NAME.toml` with `--instance NAME`, or
    `/etc/conductor-loop/agent.toml` if it is there. Every key has a default, so there need not be any file.

    - **Precedence**: defaults, then the file, then the environment, then options of the command line.
    - **Environment**: the key `settle` of the section `[agent]` is `CONDUCTOR_LOOP_AGENT_SETTLE`, and so on.
      Numbers and lists are written as in JSON: `CONDUCTOR_LOOP_PROCESSOR_COMMAND='["cat", "{path}"]'`.
    - **Durations** are text with a unit: `"500ms"`, `"30s"`, `"5m"`, `"2h15m"`, `"30d"`, `"25mo"`, `"10y"`.
      A year is 365 days, a month its twelfth. `"0"` needs no unit.
    - **Sizes** are numbers of bytes or text with a unit: `"64KiB"`, `"5MiB"`, `"2GiB"` (1,024), `"10MB"` (1,000).
    - **Relative paths** in the file start from the directory of the file; in the environment and in options
      from the current directory. `..` is resolved in the text, as `cd` does it. A program with a slash in its
      name is a path too; one without is looked for in `PATH`.
    - **Unknown keys** are warnings with the nearest known name, and errors under `check-config --strict`.

    `conductor-loop check-config FILE` names everything that is wrong, at once, and exits 78.
"""


def _key(key: Key) -> str:
    default = f"`{key.folder}` in `handoff_dir`" if key.folder else f"`{_toml(key.default)}`"
    right = key.form.right.removeprefix("write ").replace("|", "\\|")
    if key.form is forms.PATH:
        right = right.partition(" such as ")[0]  # the default beside it is the better example
    return f"| `{key.name}` | {default} | {right} | {key.help} |"


def _toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def command_line() -> Iterator[str]:
    """
    Yield the lines of the page about the command line.
    """
    yield from ("# Command line", "", NOTE, "")
    yield from _command(cli, "conductor-loop", level=2)


def _command(command: click.Command, path: str, *, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    words = " ".join(command.collect_usage_pieces(context))
    yield from (f"{'#' * level} {path}", "", "```", f"{path} {words}", "```", "")
    yield from (inspect.cleandoc(command.help or "").replace("\b\n", ""), "")
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    if options:
        yield from ("| option | environment | meaning |", "|---|---|---|")
        yield from (_option(option, path) for option in options)
        yield ""
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _command(command.commands[name], f"{path} {name}", level=level + 1)


def _option(option: click.Option, path: str) -> str:
    variable = f"{path} {option.name}".replace(" ", "_").replace("-", "_").upper()
    special = option.name == "version"  # ends the program before anything is read
    value = "" if option.is_flag else f" {option.metavar or _choices(option.type)}"
    names = ", ".join(f"`{name}{value}`" for name in option.opts)
    return f"| {names} | {'' if special else f'`{variable}`'} | {option.help} |"


def _choices(kind: click.ParamType[Any]) -> str:
    return "\\|".join(kind.choices) if isinstance(kind, click.Choice) else kind.name.upper()


def health() -> Iterator[str]:
    """
    Yield the lines of the page about the verdicts of `/health`.
    """
    yield from ("# Health", "", NOTE, "", inspect.cleandoc(HEALTH), "")
    yield from ("| component | degraded when | unhealthy when |", "|---|---|---|")
    for component in dict.fromkeys(rule.component for rule in RULES):
        cells = [
            "; ".join(rule.when for rule in RULES if rule.component == component and rule.state == state)
            for state in ("degraded", "unhealthy")
        ]
        yield f"| `{component}` | {cells[0] or '-'} | {cells[1] or '-'} |"
    yield ""


HEALTH = """
    `GET /health` gives each component a state; the worst of them is that of the agent, which
    `conductor-loop health` turns into an exit code. An old version of SQLite and polling instead of inotify on a
    network file system are warnings and change no state.
"""


if __name__ == "__main__":
    for file_name, page in pages().items():
        (HERE / file_name).write_text(page, encoding="utf-8")
