"""
The forms that values take: how each is read, checked, shown again, and what a right one looks like.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conductor_loop.config.units import format_duration, format_size, parse_duration, parse_size

LONGEST = "100y"  #: waits longer than 292 years overflow in Python's own locks
LARGEST = "8TiB"
#: What intake takes for half-written whatever the pattern; a pattern that ends so would match nothing.
HALF_WRITTEN = (".tmp", ".part", ".partial", ".filepart", ".crdownload", ".swp", ".swo", ".swx", "~")


@dataclass(frozen=True, slots=True)
class Form:
    """
    A form of value.

    Args:
        name: one word for tables.
        right: the words that follow a complaint, saying what would be right.
        read: takes the value as TOML gives it and the directory that relative paths start from;
            raises ValueError saying what is wrong.
        show: gives the value back as TOML would write it.
        structured: numbers and lists; from the environment they are read as JSON.
    """

    name: str
    right: str
    read: Callable[[object, Path], Any]
    show: Callable[[Any], object] = str
    structured: bool = False


def text(name: str, matching: str, right: str) -> Form:
    """
    Return the form of strings that match a regular expression as a whole.
    """
    compiled = re.compile(matching)

    def read(value: object, base: Path) -> str:
        string = _string(value)
        if not compiled.fullmatch(string):
            raise ValueError(f"not {name}")
        return string

    return Form(name, right, read)


def choice(*words: str, later: tuple[str, ...] = ()) -> Form:
    """
    Return the form of one word out of several; those in `later` are known but not there yet.
    """

    def read(value: object, base: Path) -> str:
        if value in later:
            raise ValueError(f'"{value}" comes with a later version')
        if value not in words:
            raise ValueError("not one of the possible words")
        return str(value)

    *first, last = (f'"{word}"' for word in words)
    return Form("choice", f"write {', '.join(first)} or {last}", read)


def integer(low: int, high: int) -> Form:
    """
    Return the form of whole numbers from `low` to `high`.
    """

    def read(value: object, base: Path) -> int:
        number = _integer(value)
        if not low <= number <= high:
            raise ValueError("out of range")
        return number

    return Form("integer", f"write a whole number from {low} to {high}", read, int, structured=True)


def integers(low: int, high: int) -> Form:
    """
    Return the form of lists of whole numbers from `low` to `high`.
    """

    def read(value: object, base: Path) -> tuple[int, ...]:
        numbers = tuple(_integer(item) for item in _list(value))
        if not all(low <= number <= high for number in numbers):
            raise ValueError("out of range")
        return numbers

    right = f"write a list of whole numbers from {low} to {high}, such as [{low}, {high}]"
    return Form("list of integers", right, read, list, structured=True)


def duration(low: str = "0", high: str = LONGEST) -> Form:
    """
    Return the form of durations from `low` to `high`; read as float seconds.
    """
    least, most = parse_duration(low), parse_duration(high)

    def read(value: object, base: Path) -> float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = f"{value:f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value}"
        seconds = parse_duration(_string(value))
        if not least <= seconds <= most:
            raise ValueError("out of range")
        return seconds

    right = f'write a duration from "{low}" to "{high}", such as "500ms", "30s" or "2h15m"'
    return Form("duration", right, read, format_duration)


def size(low: str = "0", high: str = LARGEST) -> Form:
    """
    Return the form of sizes from `low` to `high`; read as int bytes.
    """
    least, most = parse_size(low), parse_size(high)

    def read(value: object, base: Path) -> int:
        number = parse_size(value) if isinstance(value, str) else _integer(value)
        if not least <= number <= most:
            raise ValueError("out of range")
        return number

    right = f'write a size from "{low}" to "{high}", such as "64KiB", "5MiB" or a number of bytes'
    return Form("size", right, read, format_size)


def _read_path(value: object, base: Path) -> Path:
    string = _string(value)
    if not string or "\0" in string:
        raise ValueError("not a path")
    if string.startswith("~"):
        raise ValueError("~ is not replaced here")
    # Textual, as the shell's `cd` does it: ".." does not follow symbolic links.
    return Path(os.path.abspath(base / string))


def _read_file(value: object, base: Path) -> str:
    return str(_read_path(value, base)) if value != "" else ""


def _read_schema(value: object, base: Path) -> str:
    string = _string(value)
    if string in ("intent", "none"):
        return string
    if "/" not in string and not string.endswith(".json"):
        raise ValueError("no built-in schema of this name")
    return str(_read_path(string, base))


def _read_argv(value: object, base: Path) -> tuple[str, ...]:
    words = tuple(_string(item) for item in _list(value))
    if any("\0" in word for word in words):
        raise ValueError("a NUL character cannot be passed to a program")
    if words and "/" in words[0]:
        return (str(_read_path(words[0], base)), *words[1:])
    return words


def _read_pattern(value: object, base: Path) -> str:
    string = _string(value)
    if not string or "/" in string or "\0" in string:
        raise ValueError("a pattern is for file names, not for paths")
    if string.startswith("."):
        raise ValueError("names beginning with a dot are never taken")
    if string.endswith(HALF_WRITTEN):
        raise ValueError("names that end so are half-written files, which are never taken")
    return string


def _read_host(value: object, base: Path) -> str:
    string = _string(value)
    try:
        ipaddress.ip_address(string)
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", string) or _looks_numeric(
            string
        ):
            raise ValueError("neither an address nor a host name") from None
    return string


def _read_hosts(value: object, base: Path) -> tuple[str, ...]:
    return tuple(_read_host(item, base) for item in _list(value))


def _looks_numeric(host: str) -> bool:
    return re.fullmatch(r"[0-9.]+", host) is not None


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a string")  # noqa: TRY004 - the loader collects ValueErrors
    return value


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("not a whole number")  # noqa: TRY004 - the loader collects ValueErrors
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("not a list")  # noqa: TRY004 - the loader collects ValueErrors
    return list(value)


def from_text(form: Form, string: str) -> object:
    """
    Return the value that a text from the environment or the command line stands for, as TOML would give it.

    Raises:
        ValueError: where a number or a list cannot be read.
    """
    if not form.structured:
        return string
    try:
        value: object = json.loads(string)
    except (ValueError, RecursionError):
        raise ValueError(f"not {'a list' if 'list' in form.name else 'a number'}") from None
    return value


NAME = text(
    "a name",
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}",
    "write a letter or digit, then up to 62 letters, digits, dots, underscores or dashes",
)
HANDLER = text(
    "a function's place",
    r"([A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*)?",
    'write "module:function", such as "mypackage.intents:handle"',
)
URL = text("a URL", r".*", "leave it empty for SQLite in state_dir")
PATTERN = Form("pattern", 'write a file name with * and ?, such as "intent-*.json"', _read_pattern)
PATH = Form("path", 'write a path such as "/var/lib/conductor-loop/handoff"', _read_path)
FILE = Form("path", 'write the path of a file, or "" for none', _read_file)
SCHEMA = Form("schema", 'write "intent", "none" or the path of a JSON Schema file', _read_schema)
ARGV = Form(
    "list of strings",
    'write a list, such as ["porch", "-intent", "{path}", "-out", "{out_dir}"]',
    _read_argv,
    list,
    structured=True,
)
HOST = Form("host", 'write an address or a host name without a port, such as "127.0.0.1"', _read_host)
HOSTS = Form(
    "list of hosts",
    'write a list of host names without ports, such as ["agent.example.net"]',
    _read_hosts,
    list,
    structured=True,
)
