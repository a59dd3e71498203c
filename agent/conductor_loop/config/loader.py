"""
The one loader: defaults < file < environment < flags, all problems reported at once.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from conductor_loop.config.arguments import ARGUMENTS
from conductor_loop.config.checks import findings
from conductor_loop.config.forms import from_text
from conductor_loop.config.settings import KEYS, SECTIONS, Config, Key
from conductor_loop.errors import ConfigError, PermissionDeniedError

PREFIX = "CONDUCTOR_LOOP_"
_DEFAULT, _ARGUMENT = "default", "argument"
_AS_TOML = ("file ", _DEFAULT, _ARGUMENT)  #: origins whose texts are no numbers or lists
_BUILT_IN: Mapping[str, object] = MappingProxyType({})
_HERE = Path()  # the current directory, looked up only when a relative path needs it


@dataclass(frozen=True, slots=True)
class Loaded:
    """
    A usable configuration and where it came from.

    Args:
        config: the merged values.
        origins: dotted key -> "default", "file PATH", "environment VARIABLE" or "flag --OPTION".
        warnings: one line each.
    """

    config: Config
    origins: Mapping[str, str]
    warnings: tuple[str, ...]


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    options: Iterable[str] = (),
    defaults: Mapping[str, object] = _BUILT_IN,
    strict: bool = False,
) -> Loaded:
    """
    Return the merged configuration.

    Args:
        path: the TOML file; None for no file. Relative paths in it start from its directory,
            those in the environment and in flags from the current one.
        environ: environment variables, see `environ`.
        flags: dotted key -> value of command-line options; None for not given.
        options: names of variables that stand for options of commands, and for no key.
        defaults: dotted key -> value as a TOML file would have it, instead of the built-in default.
        strict: unknown keys are errors.

    Raises:
        ConfigError: naming everything that is wrong.
        PermissionDeniedError: if the file may not be read.
    """
    document = read_document(path) if path else {}
    return merge(
        document,
        path=path,
        environ=environ,
        flags=flags,
        options=options,
        defaults=defaults,
        strict=strict,
    )


def environ() -> Mapping[str, str]:
    """
    Return the environment: the one place where the program reads it.
    """
    return os.environ  # noqa: TID251 - the one door to it


def config_hash(config: Config) -> str:
    """
    Return 12 hexadecimal digits that change when any merged value does.
    """
    text = json.dumps(as_written(config), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def as_written(config: Config) -> dict[str, dict[str, object]]:
    """
    Return all values as a TOML file would hold them, secrets included.
    """
    return {
        section: {
            key.name: key.form.show(getattr(getattr(config, section), key.name)) for key in _keys_of(section)
        }
        for section in SECTIONS
    }


def read_document(path: Path) -> dict[str, object]:
    """
    Return the tables of a TOML file.

    Raises:
        ConfigError: if there is no such file or it is not TOML in UTF-8.
        PermissionDeniedError: if it may not be read.
    """
    try:
        raw = path.read_bytes()
    except PermissionError as exc:
        raise PermissionDeniedError(f"{path}: no permission to read it; {_HINT}") from exc
    except IsADirectoryError as exc:
        raise ConfigError(f"{path}: is a directory; name the TOML file in it") from exc
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise ConfigError(f"{path}: cannot be read: {reason}; {_HINT}") from exc
    return _parse(path, raw)


_HINT = "name a file that is there and readable with --config"


def _parse(path: Path, raw: bytes) -> dict[str, object]:
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise ConfigError(
            f"{path}:{line}: not UTF-8 (byte 0x{raw[exc.start]:02x}); save it as UTF-8"
        ) from exc
    except RecursionError as exc:
        raise ConfigError(f"{path}: nested too deeply; no key here needs more than a list") from exc
    except ValueError as exc:  # tomllib's own error is one, and so is a number of too many digits
        found = re.search(r"at line (\d+), column (\d+)", str(exc))
        line = int(found[1]) if found else raw.count(b"\n") + 1
        raise ConfigError(f'{path}:{line}: not valid TOML: {exc}; write lines such as key = "value"') from exc


@dataclass(frozen=True, slots=True)
class _Given:
    value: object
    origin: str
    where: str  #: how messages name the place
    base: Path  #: where relative paths start


@dataclass(slots=True)
class _Findings:
    strict: bool
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def unknown(self, line: str) -> None:
        (self.problems if self.strict else self.warnings).append(line)


def merge(
    document: Mapping[str, object],
    *,
    path: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    options: Iterable[str] = (),
    defaults: Mapping[str, object] = _BUILT_IN,
    arguments: Mapping[str, object] = _BUILT_IN,
    strict: bool = False,
) -> Loaded:
    """
    Return the configuration made of the tables of a file, the environment and flags; see `load`.

    Args:
        arguments: keyword (see `ARGUMENTS`) -> value as a TOML file would have it; they beat all else.

    Raises:
        ConfigError: naming everything that is wrong.
    """
    found = _Findings(strict)
    given = _from_defaults(defaults) | _from_file(document, path, found)
    given |= _from_environment(environ, set(options), found) | _from_flags(flags)
    given |= _from_arguments(arguments)
    values, bad = _read_values(given, found)
    config = _build(values)
    _cross_check(config, given, bad, found)
    if found.problems:
        raise ConfigError(*found.problems, warnings=found.warnings)
    origins = {dotted: given[dotted].origin if dotted in given else _DEFAULT for dotted in KEYS}
    return Loaded(config, origins, tuple(found.warnings))


def check_arguments(arguments: Mapping[str, object]) -> None:
    """
    Look at each keyword argument by itself; what they are together is for `merge` to check.

    Raises:
        ConfigError: naming everything that is wrong.
    """
    found = _Findings(strict=True)
    _read_values(_from_arguments(arguments), found)
    if found.problems:
        raise ConfigError(*found.problems)


def _from_defaults(defaults: Mapping[str, object]) -> dict[str, _Given]:
    return {
        dotted: _Given(value, _DEFAULT, _default_of(KEYS[dotted]), _HERE)
        for dotted, value in defaults.items()
    }


def _from_file(document: Mapping[str, object], path: Path | None, found: _Findings) -> dict[str, _Given]:
    given = {}
    base = path.absolute().parent if path else _HERE
    for section, table in document.items():
        if section not in SECTIONS:
            found.unknown(f"{path}: [{section}]: unknown section; {_suggest(section, SECTIONS)}")
        elif not isinstance(table, dict):
            found.problems.append(
                f"{path}: {section} = {_shown(table)}: not a table; write [{section}] and its keys below"
            )
        else:
            for name, value in table.items():
                where = f"{path}: [{section}] {name}"
                if f"{section}.{name}" in KEYS:
                    given[f"{section}.{name}"] = _Given(value, f"file {path}", where, base)
                else:
                    found.unknown(f"{where} = {_shown(value)}: unknown key; {_suggest_key(section, name)}")
    return given


def _from_environment(environ: Mapping[str, str], options: set[str], found: _Findings) -> dict[str, _Given]:
    given = {}
    known = {key.variable: dotted for dotted, key in KEYS.items()}
    for variable, value in environ.items():
        where = f"environment: {variable}"
        if variable in known:
            given[known[variable]] = _Given(value, f"environment {variable}", where, _HERE)
        elif variable.startswith(PREFIX) and variable not in options:
            found.unknown(f"{where}: unknown variable; {_suggest(variable, [*known, *options])}")
    return given


def _from_flags(flags: Mapping[str, object]) -> dict[str, _Given]:
    given = {}
    for dotted, value in flags.items():
        option = "--" + re.sub("[._]", "-", dotted)
        if value is not None:
            given[dotted] = _Given(value, f"flag {option}", option, _HERE)
    return given


def _from_arguments(arguments: Mapping[str, object]) -> dict[str, _Given]:
    return {
        ARGUMENTS[keyword].dotted: _Given(value, _ARGUMENT, keyword, _HERE)
        for keyword, value in arguments.items()
    }


def _read_values(given: Mapping[str, _Given], found: _Findings) -> tuple[dict[str, object], set[str]]:
    values, bad = {}, set()
    for dotted, entry in given.items():
        key = KEYS[dotted]
        try:
            values[dotted] = _read(key, entry)
        except ValueError as exc:
            bad.add(dotted)
            found.problems.append(f"{entry.where} = {_shown(entry.value, key)}: {exc}; {key.form.right}")
    return values, bad


def _read(key: Key, entry: _Given) -> object:
    from_outside = isinstance(entry.value, str) and not entry.origin.startswith(_AS_TOML)
    value = from_text(key.form, str(entry.value)) if from_outside else entry.value
    result: object = key.form.read(value, entry.base)
    return result


def _build(values: Mapping[str, object]) -> Config:
    handoff = values.get("agent.handoff_dir")
    parts = {}
    for section, cls in SECTIONS.items():
        own = {key.name: values[key.dotted] for key in _keys_of(section) if key.dotted in values}
        if isinstance(handoff, Path):
            own = {key.name: handoff / key.folder for key in _keys_of(section) if key.folder} | own
        parts[section] = cls(**own)
    return Config(**parts)


def _cross_check(config: Config, given: Mapping[str, _Given], bad: set[str], found: _Findings) -> None:
    written = as_written(config)
    for finding in findings(config):
        if bad.intersection(finding.keys):
            continue  # said already; the value looked at here is only the default
        dotted = next((key for key in finding.keys if key in given), finding.keys[0])
        key = KEYS[dotted]
        where = given[dotted].where if dotted in given else _default_of(key)
        value = _shown(written[key.section][key.name], key)
        other = "" if dotted == finding.keys[0] else f"{finding.keys[0]}: "
        line = f"{where} = {value}: {other}{finding.wrong}"
        (found.problems if finding.fatal else found.warnings).append(line)


def _default_of(key: Key) -> str:
    return f"default of [{key.section}] {key.name}"


def _keys_of(section: str) -> list[Key]:
    return [key for key in KEYS.values() if key.section == section]


def _suggest(word: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else f"known are {', '.join(names)}"


def _suggest_key(section: str, name: str) -> str:
    elsewhere = [key.section for key in KEYS.values() if key.name == name]
    if elsewhere:
        return f"it belongs to [{elsewhere[0]}]"
    return _suggest(name, [key.name for key in _keys_of(section)])


def _shown(value: object, key: Key | None = None) -> str:
    if key and key.secret:
        return "(hidden)"
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = "(nested too deeply)"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


_LONGEST_SHOWN = 200
