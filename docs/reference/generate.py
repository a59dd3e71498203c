# ruff: noqa: INP001 - a script beside what it writes
"""
Writes the pages of the reference that are made from the code: `make docs`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from exit_codes import exit_codes
from health_page import health
from json_page import json_documents
from metrics_page import metrics
from page import NOTE
from status_page import status_file

from conductor_loop.cli import cli
from conductor_loop.cli.lazy import commands_below
from conductor_loop.config import KEYS, SECTIONS, Key, forms

HERE = Path(__file__).parent


def pages() -> dict[str, str]:
    """
    Return the text of each generated page by its file name.
    """
    return {
        "configuration.md": "\n".join(configuration()),
        "command-line.md": "\n".join(command_line()),
        "health.md": "\n".join(health()),
        "metrics.md": "\n".join(metrics()),
        "status-file.md": "\n".join(status_file()),
    }


def configuration() -> Iterator[str]:
    """
    Yield the lines of the page about the configuration.
    """
    yield from ("# Configuration", "", NOTE, "", inspect.cleandoc(CONFIGURATION), "")
    for section, cls in SECTIONS.items():
        yield from (f"## [{section}]", "", inspect.cleandoc(cls.__doc__ or ""), "")
        yield from ("| key | default | form | takes effect | meaning |", "|---|---|---|---|---|")
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
    - **Takes effect**: `conductor-loop reload` has a running agent read its configuration again, all of it or, where
      anything in it is wrong, nothing. What takes effect at a *restart* keeps its old value until then, and health
      warns of it. No running command is interrupted: it ends under the old configuration, the next attempt
      begins under the new one. Waits that have begun go on. The module of a Python `handler` that is imported
      already is not imported anew: for a change of its code restart the agent.

    `conductor-loop check-config FILE` names everything that is wrong, at once, and exits 78.
"""


def _key(key: Key) -> str:
    default = f"`{key.folder}` in `handoff_dir`" if key.folder else f"`{_toml(key.default)}`"
    right = key.form.right.removeprefix("write ").replace("|", "\\|")
    if key.form is forms.PATH:
        right = right.partition(" such as ")[0]  # the default beside it is the better example
    effect = "restart" if key.restart else "reload"
    return f"| `{key.name}` | {default} | {right} | {effect} | {key.help} |"


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
    yield from json_documents()
    yield from exit_codes()


def _command(command: click.Command, path: str, *, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    words = " ".join(command.collect_usage_pieces(context))
    yield from (f"{'#' * level} {path}", "", "```", f"{path} {words}", "```", "")
    yield from (_AS_IT_IS.sub(r"```text\n\1\n```", inspect.cleandoc(command.help or "")), "")
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    if options:
        yield from ("| option | environment | meaning |", "|---|---|---|")
        yield from (_option(option, path) for option in options)
        yield ""
    for name, below in sorted(commands_below(command).items()):
        yield from _command(below, f"{path} {name}", level=level + 1)


_AS_IT_IS = re.compile(r"\x08\n(.+?)(?=\n\n|\Z)", re.DOTALL)  # click's mark for lines that are not wrapped


def _option(option: click.Option, path: str) -> str:
    variable = f"{path} {option.name}".replace(" ", "_").replace("-", "_").upper()
    special = option.name == "version"  # ends the program before anything is read
    value = "" if option.is_flag else f" {option.metavar or _choices(option.type)}"
    names = ", ".join(f"`{name}{value}`" for name in option.opts)
    return f"| {names} | {'' if special else f'`{variable}`'} | {option.help} |"


def _choices(kind: click.ParamType[Any]) -> str:
    return "\\|".join(kind.choices) if isinstance(kind, click.Choice) else kind.name.upper()


if __name__ == "__main__":
    for file_name, page in pages().items():
        (HERE / file_name).write_text(page, encoding="utf-8")
