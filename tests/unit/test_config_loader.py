"""
The loader: precedence, origins, and every kind of bad configuration.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conductor_loop import config
from conductor_loop.config import Config, Loaded, config_hash, forms
from conductor_loop.errors import ConfigError, PermissionDeniedError
from conductor_loop.intake.names import NEVER_TAKEN


def load(path: Path | None = None, **given: Any) -> Loaded:
    return config.load(path, **{"environ": {}, "flags": {}, **given})


def load_text(folder: Path, text: str, **given: Any) -> Loaded:
    path = folder / "agent.toml"
    path.write_text(text)
    return load(path, **given)


def problems(folder: Path, text: str, **given: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(folder, text, **given)
    return [line.replace(f"{folder}/", "") for line in caught.value.problems]


def test_without_anything_the_defaults_hold() -> None:
    """Built-in defaults need no file and give no warning."""
    loaded = load()

    assert loaded.config == Config()
    assert loaded.warnings == ()
    assert set(loaded.origins.values()) == {"default"}


def test_defaults_are_those_of_the_contract() -> None:
    """The values promised to users, as the agent's parts see them."""
    made = load().config

    assert made.agent.handoff_dir == Path("/var/lib/conductor-loop/handoff")
    assert made.agent.processed_dir == Path("/var/lib/conductor-loop/handoff/processed")
    assert (made.agent.max_workers, made.agent.look_ahead, made.agent.settle) == (4, 64, 0.5)
    assert (made.agent.reject_after, made.agent.settle_max, made.agent.min_free) == (5.0, 600.0, 200 << 20)
    assert made.processor.command == ("porch", "-intent", "{path}", "-out", "{out_dir}")
    assert (made.processor.timeout, made.processor.kill_grace, made.processor.output_limit) == (
        30.0,
        5.0,
        65_536,
    )
    assert (made.validation.schema, made.validation.max_bytes, made.validation.max_depth) == (
        "intent",
        5 << 20,
        100,
    )
    assert (made.retry.max_attempts, made.retry.give_up_after, made.retry.max_delay) == (10, 3600.0, 300.0)
    assert (made.retry.retry_exit_codes, made.retry.max_waiting) == ((75,), 1000)
    assert (made.http.metrics_host, made.http.metrics_port, made.http.api) == ("127.0.0.1", 8080, "full")
    assert (made.files.keep_processed, made.files.keep_failed) == (30 * 86_400.0, 400 * 86_400.0)
    assert (made.history.daily, made.history.max_bytes) == (10 * 31_536_000.0, 2 << 30)


def test_precedence_is_default_file_environment_flag(tmp_path: Path) -> None:
    """Each source beats those before it, and the origin says which won."""
    text = '[agent]\nname = "file"\nlook_ahead = 5\nmax_workers = 5\n[log]\nlevel = "error"\n'
    variables = {
        "CONDUCTOR_LOOP_AGENT_LOOK_AHEAD": "6",
        "CONDUCTOR_LOOP_AGENT_MAX_WORKERS": "6",
        "CONDUCTOR_LOOP_LOG_LEVEL": "warning",
    }
    loaded = load_text(
        tmp_path, text, environ=variables, flags={"log.level": "debug", "agent.max_workers": None}
    )

    assert loaded.config.agent.name == "file"
    assert (loaded.config.agent.look_ahead, loaded.config.agent.max_workers) == (6, 6)
    assert loaded.config.log.level == "debug"
    assert loaded.origins["agent.name"] == f"file {tmp_path}/agent.toml"
    assert loaded.origins["agent.max_workers"] == "environment CONDUCTOR_LOOP_AGENT_MAX_WORKERS"
    assert loaded.origins["log.level"] == "flag --log-level"
    assert loaded.origins["agent.settle"] == "default"


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    """One run names every bad key with its value and what would be right."""
    text = """
        [agent]
        name = "a/b"
        max_workers = 0
        settle = 5
        pattern = "sub/*.json"
        [processor]
        kind = "stream"
        [http]
        metrics_port = "8080"
        """
    variables = {"CONDUCTOR_LOOP_RETRY_RETRY_EXIT_CODES": "75"}

    assert problems(tmp_path, text, environ=variables, flags={"log.level": "loud"}) == [
        (
            'agent.toml: [agent] name = "a/b": not a name; '
            "write a letter or digit, then up to 62 letters, digits, dots, underscores or dashes"
        ),
        "agent.toml: [agent] max_workers = 0: out of range; write a whole number from 1 to 256",
        (
            "agent.toml: [agent] settle = 5: a number without its unit; "
            'write a duration from "0" to "1h", such as "500ms", "30s" or "2h15m"'
        ),
        (
            'agent.toml: [agent] pattern = "sub/*.json": a pattern is for file names, not for paths; '
            'write a file name with * and ?, such as "intent-*.json"'
        ),
        (
            'agent.toml: [processor] kind = "stream": "stream" comes with a later version; '
            'write "command" or "python"'
        ),
        'agent.toml: [http] metrics_port = "8080": not a whole number; write a whole number from 0 to 65535',
        (
            'environment: CONDUCTOR_LOOP_RETRY_RETRY_EXIT_CODES = "75": not a list; '
            "write a list of whole numbers from 1 to 255, such as [1, 255]"
        ),
        '--log-level = "loud": not one of the possible words; write "debug", "info", "warning" or "error"',
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[agent]\nmax_workers = true", "max_workers = true: not a whole number"),
        ("[agent]\nmax_workers = 4.0", "max_workers = 4.0: not a whole number"),
        ('[agent]\nhandoff_dir = ""', 'handoff_dir = "": not a path'),
        ('[agent]\nhandoff_dir = "a\\u0000b"', "not a path"),
        ('[agent]\nhandoff_dir = "~/handoff"', "~ is not replaced here"),
        ('[agent]\npattern = ".*"', "names beginning with a dot are never taken"),
        ('[agent]\npattern = ""', "a pattern is for file names"),
        ('[agent]\npattern = "*.tmp"', "names that end so are half-written files"),
        ('[agent]\nscan_interval = "0"', 'write a duration from "100ms" to "1h"'),
        ('[agent]\nmin_free = "lots"', "not a size; write a size"),
        ("[agent]\nmin_free = -1", "out of range"),
        ("[agent]\nsettle = 2020-01-01", 'settle = "2020-01-01": not a string'),
        ("[agent]\nsettle = nan", "settle = NaN: not a duration"),
        ("[processor]\ncommand = []", "command = []: names no program"),
        ('[processor]\ncommand = ""', "not a list"),
        ('[processor]\ncommand = ["x", 1]', "not a string"),
        ('[processor]\ncommand = ["x", "\\u0000"]', "a NUL character cannot be passed"),
        ('[processor]\ntimeout = "8d"', 'write a duration from "10ms" to "7d"'),
        ('[processor]\nkind = "python"', 'missing for kind "python"; write "module:function"'),
        ('[processor]\nhandler = "module"', "not a function's place"),
        ('[validation]\nschema = "itent"', "no built-in schema of this name"),
        ('[validation]\nschema = "nowhere.json"', "no such file"),
        ("[retry]\nretry_exit_codes = [0]", "out of range"),
        ('[retry]\ninitial_delay = "10m"', "longer than retry.max_delay (5m)"),
        (
            '[retry]\nmax_delay = "500ms"',
            'max_delay = "500ms": retry.initial_delay: longer than retry.max_delay',
        ),
        ('[agent]\nsettle = "1m"\nsettle_max = "30s"', 'settle = "1m": longer than agent.settle_max (30s)'),
        ('[http]\nmetrics_host = "127.0.0.1:8080"', "neither an address nor a host name"),
        ('[http]\nmetrics_host = "999.1.1.1"', "neither an address nor a host name"),
        ('[http]\nmetrics_host = "http://localhost"', "write an address or a host name without a port"),
        ("[http]\nmetrics_port = 65536", "write a whole number from 0 to 65535"),
        ('[http]\nallowed_hosts = ["a b"]', "neither an address nor a host name"),
        ('agent = "x"', 'agent = "x": not a table; write [agent]'),
        ("[[agent]]\nname = 'x'", "not a table"),
    ],
)
def test_bad_value_is_named_with_what_would_be_right(tmp_path: Path, text: str, said: str) -> None:
    """One problem, naming the file, the key and the value."""
    (line,) = problems(tmp_path, text)

    assert line.startswith("agent.toml: ")
    assert said in line


def test_store_url_is_refused_without_showing_its_password(tmp_path: Path) -> None:
    """PostgreSQL comes later, and a URL may hold a password."""
    (line,) = problems(tmp_path, '[store]\nurl = "postgresql://agent:secret@db/history"')

    assert "PostgreSQL comes with a later version" in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[agent]\npatern = "x"', 'agent.toml: [agent] patern = "x": unknown key; did you mean "pattern"?'),
        ("[agent]\ntimeout = 1", "agent.toml: [agent] timeout = 1: unknown key; it belongs to [processor]"),
        ("[agnet]", 'agent.toml: [agnet]: unknown section; did you mean "agent"?'),
        ("[zzz]", "agent.toml: [zzz]: unknown section; known are agent, processor,"),
        ("stray = 1", "agent.toml: [stray]: unknown section"),
    ],
)
def test_unknown_name_is_a_warning_and_an_error_when_strict(tmp_path: Path, text: str, said: str) -> None:
    """A slip of the pen is found, with the nearest known name."""
    (warning,) = load_text(tmp_path, text).warnings
    (problem,) = problems(tmp_path, text, strict=True)

    assert problem.startswith(said)
    assert warning.endswith(problem)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("CONDUCTOR_LOOP_AGENT_NMAE", "CONDUCTOR_LOOP_AGENT_NAME"),
        ("CONDUCTOR_LOOP_MAX_WORKERS", "CONDUCTOR_LOOP_AGENT_MAX_WORKERS"),
        ("CONDUCTOR_LOOP_RUN_OCNE", "CONDUCTOR_LOOP_RUN_ONCE"),
    ],
)
def test_unknown_variable_is_a_warning_and_an_error_when_strict(variable: str, meant: str) -> None:
    """Every one with our prefix, but for those that stand for options of commands; its value may be a secret."""
    given = {variable: "secret", "CONDUCTOR_LOOP_RUN_ONCE": "1", "PATH": "/bin", "CONDUCTOR": "x"}
    options = ("CONDUCTOR_LOOP_RUN_ONCE", "CONDUCTOR_LOOP_CONFIG")
    said = f'environment: {variable}: unknown variable; did you mean "{meant}"?'

    assert load(environ=given, options=options).warnings == (said,)
    with pytest.raises(ConfigError) as caught:
        load(environ=given, options=options, strict=True)
    assert caught.value.problems == (said,)


def test_warnings_are_not_lost_beside_problems(tmp_path: Path) -> None:
    """A misspelt key may be why another is wrong; errors come first, warnings are marked."""
    path = tmp_path / "agent.toml"
    path.write_text("[agent]\nmax_wrokers = 1\nlook_ahead = 0\n")
    with pytest.raises(ConfigError) as caught:
        load(path)

    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{path}: [agent] look_ahead = 0: out of range")
    assert second.startswith(f"warning: {path}: [agent] max_wrokers = 1: unknown key")
    assert len(caught.value.problems) == 1


def test_a_web_configuration_is_refused(tmp_path: Path) -> None:
    """Serving without what it asks for would open what it closes."""
    (said,) = problems(tmp_path, '[http]\nweb_config = "web.yml"')

    assert said.startswith('agent.toml: [http] web_config = "web.yml": TLS and passwords come with a later')


def test_lists_and_numbers_come_from_the_environment_as_json() -> None:
    """A command is a list there too, never a shell string."""
    made = load(
        environ={
            "CONDUCTOR_LOOP_PROCESSOR_COMMAND": '["cat", "{path}"]',
            "CONDUCTOR_LOOP_RETRY_RETRY_EXIT_CODES": "[]",
            "CONDUCTOR_LOOP_AGENT_MIN_FREE": "1000",
        }
    ).config

    assert made.processor.command == ("cat", "{path}")
    assert made.retry.retry_exit_codes == ()
    assert made.agent.min_free == 1000


def test_command_that_cannot_be_told_its_file_is_a_warning(tmp_path: Path) -> None:
    """Such a command is possible, but hardly meant."""
    loaded = load_text(tmp_path, '[processor]\ncommand = ["true", "{file}", "{not one}", "{}"]')
    unreplaced, missing = (line.split(": ", 2)[2] for line in loaded.warnings)

    assert unreplaced.startswith("{file} is not replaced by anything; there are {path}, {name}, {out_dir}")
    assert missing.startswith("has no {path} in it")


def test_relative_paths_start_from_the_directory_of_the_file(tmp_path: Path) -> None:
    """A configuration can be moved together with its directories."""
    schema = tmp_path / "own.json"
    schema.write_text("{}")
    text = """
        [agent]
        handoff_dir = "../var/handoff"
        failed_dir = "bad"
        [processor]
        command = ["bin/render", "{path}"]
        [validation]
        schema = "own.json"
        """
    (tmp_path / "etc").mkdir()
    schema.rename(tmp_path / "etc" / "own.json")
    made = load_text(tmp_path / "etc", text).config

    assert made.agent.handoff_dir == tmp_path / "var" / "handoff"
    assert made.agent.processed_dir == tmp_path / "var" / "handoff" / "processed"
    assert made.agent.failed_dir == tmp_path / "etc" / "bad"
    assert made.processor.command == (f"{tmp_path}/etc/bin/render", "{path}")
    assert made.validation.schema == f"{tmp_path}/etc/own.json"


def test_relative_paths_of_the_environment_start_from_the_current_directory() -> None:
    """As every program does it with what is typed."""
    made = load(environ={"CONDUCTOR_LOOP_AGENT_HANDOFF_DIR": "here"}).config

    assert made.agent.handoff_dir == Path.cwd() / "here"
    assert made.agent.work_dir == Path.cwd() / "here" / "work"


def test_a_program_without_a_slash_is_left_for_the_search_path(tmp_path: Path) -> None:
    """`porch` is not a file beside the configuration."""
    assert (
        load_text(tmp_path, '[processor]\ncommand = ["porch", "{path}"]').config.processor.command[0]
        == "porch"
    )


@pytest.mark.parametrize("key", ["state_dir", "processed_dir", "failed_dir", "status_dir", "work_dir"])
def test_two_purposes_cannot_share_a_directory(tmp_path: Path, key: str) -> None:
    """Each of the directories needs its own place."""
    lines = problems(tmp_path, f'[agent]\nhandoff_dir = "/h"\n{key} = "/h/x/.."')

    assert any(f'{key} = "/h": the same directory as agent.handoff_dir' in line for line in lines)


def test_nothing_may_live_inside_the_work_directory(tmp_path: Path) -> None:
    """Recovery would adopt what lies there."""
    (line,) = problems(tmp_path, '[agent]\nhandoff_dir = "/h"\nstate_dir = "/h/work/state"')

    assert 'state_dir = "/h/work/state": inside agent.work_dir (/h/work)' in line


def test_bad_key_is_not_complained_of_twice(tmp_path: Path) -> None:
    """Cross checks leave out keys whose own value could not be read."""
    assert len(problems(tmp_path, '[retry]\nmax_delay = "soon"\ninitial_delay = "10m"')) == 1


def test_missing_file_is_named(tmp_path: Path) -> None:
    """The path and the way out."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file.*--config"):
        load(tmp_path / "nowhere.toml")


def test_directory_is_no_file(tmp_path: Path) -> None:
    """A common slip with --config."""
    with pytest.raises(ConfigError, match="is a directory; name the TOML file in it"):
        load(tmp_path)


def test_unreadable_file_is_a_matter_of_permission(tmp_path: Path) -> None:
    """Exit code 77, not 78: the file may be right."""
    path = tmp_path / "agent.toml"
    path.touch(mode=0o000)
    child = os.fork()
    if child == 0:
        # Root may read everything, so ask as somebody else.
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            load(path)
        except PermissionDeniedError as exc:
            os._exit(exc.exit_code if str(exc).startswith(f"{path}: no permission") else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 77


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"[agent]\nname = \n", "agent.toml:2: not valid TOML: "),
        (b"[agent]\nname = 'x", "agent.toml:2: not valid TOML: "),
        (b"[agent]\nname = 'x'\nname = 'y'\n", "agent.toml:3: not valid TOML: Cannot overwrite a value"),
        (b"[agent]\n# caf\xe9\n", "agent.toml:2: not UTF-8 (byte 0xe9)"),
        (b"x = " + b"[" * 5000, "agent.toml: nested too deeply"),
        (b"x = " + b"9" * 5000, "agent.toml:1: not valid TOML: "),
        (b"\x00", "agent.toml:1: not valid TOML: "),
    ],
)
def test_what_is_no_toml_is_named_with_its_line(tmp_path: Path, raw: bytes, said: str) -> None:
    """File and line, whatever the bytes."""
    path = tmp_path / "agent.toml"
    path.write_bytes(raw)

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert str(caught.value).startswith(f"{tmp_path}/{said}")


def test_byte_order_mark_is_harmless(tmp_path: Path) -> None:
    """Some editors write one."""
    assert load_text(tmp_path, '\ufeff[agent]\nname = "bom"').config.agent.name == "bom"


def test_hash_changes_with_any_value_and_not_with_its_source() -> None:
    """Twelve digits that tell two configurations apart."""
    default = config_hash(Config())
    same = load(environ={"CONDUCTOR_LOOP_AGENT_SETTLE": "0.5s"}).config
    other = load(environ={"CONDUCTOR_LOOP_AGENT_SETTLE": "501ms"}).config

    assert len(default) == 12
    assert config_hash(same) == default
    assert config_hash(other) != default


def test_hash_takes_undecodable_paths() -> None:
    """A path of the environment may be no UTF-8."""
    made = load(environ={"CONDUCTOR_LOOP_PROCESSOR_OUT_DIR": "/out/\udcff"}).config

    assert len(config_hash(made)) == 12


def test_shown_values_are_read_back_as_the_same(tmp_path: Path) -> None:
    """The written form of a configuration is a configuration."""
    made = load_text(tmp_path, '[agent]\nsettle = "1.25s"\n[http]\nallowed_hosts = ["a.example"]').config

    assert config.merge(config.as_written(made), path=None, environ={}, flags={}).config == made


def test_every_key_explains_itself() -> None:
    """The reference page is made of these texts."""
    for key in config.KEYS.values():
        assert key.help.endswith((".", ")")), key.dotted
        assert key.form.right.startswith(("write", "leave")), key.dotted


def test_half_written_names_are_those_of_intake() -> None:
    """The configuration cannot import what is above it, so the list stands in both."""
    assert set(forms.HALF_WRITTEN) == {name[1:] for name in NEVER_TAKEN if name.startswith("*")}


def test_given_default_is_beaten_by_everything_else(tmp_path: Path) -> None:
    """It takes the place of the built-in one, and what it is is read as in a file."""
    defaults = {
        "admin.socket": "/run/a.sock",
        "agent.max_workers": 7,
        "agent.look_ahead": 7,
        "log.level": "debug",
    }
    variables = {"CONDUCTOR_LOOP_AGENT_LOOK_AHEAD": "6"}
    loaded = load_text(
        tmp_path,
        "[agent]\nmax_workers = 5\n",
        environ=variables,
        defaults=defaults,
        flags={"log.level": "error"},
    )

    assert loaded.config.admin.socket == "/run/a.sock"
    assert (loaded.config.agent.max_workers, loaded.config.agent.look_ahead) == (5, 6)
    assert loaded.config.log.level == "error"
    assert loaded.origins["admin.socket"] == loaded.origins["agent.settle"] == "default"


def test_given_default_that_is_wrong_is_named(tmp_path: Path) -> None:
    """As a default."""
    (line,) = problems(tmp_path, "", defaults={"agent.max_workers": "many"})

    assert line.startswith('default of [agent] max_workers = "many": not a whole number')


def test_admin_socket_is_in_the_state_directory_unless_told(tmp_path: Path) -> None:
    """Relative paths start from the file's directory, as everywhere."""
    default = load_text(tmp_path, '[agent]\nstate_dir = "/var/state"').config
    told = load_text(tmp_path, '[admin]\nsocket = "run/a.sock"').config

    assert config.admin_socket(default) == Path("/var/state/admin.sock")
    assert config.admin_socket(told) == tmp_path / "run" / "a.sock"


def test_what_a_running_agent_cannot_take_over_needs_a_restart() -> None:
    """Its name, its places and its sockets; everything else is taken over by a reload."""
    restart = {dotted for dotted, key in config.KEYS.items() if key.restart}

    assert restart == {
        *(f"agent.{name}" for name in ("name", "handoff_dir", "state_dir", "watch")),
        *(f"agent.{name}_dir" for name in ("processed", "failed", "status", "work")),
        "processor.out_dir",
        *(key.dotted for key in config.KEYS.values() if key.section == "http"),
        "admin.socket",
        "store.url",
    }


def test_environment_is_the_process_environment() -> None:
    """The one door to it."""
    assert config.environ() is os.environ


_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.dates(),
    st.datetimes(),
    st.times(),
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_names = st.sampled_from([key.name for key in config.KEYS.values()]) | st.text(max_size=8)
_sections = st.sampled_from(list(config.SECTIONS)) | st.text(max_size=8)
_variables = st.sampled_from([key.variable for key in config.KEYS.values()]) | st.text(max_size=8)
_texts = st.text(max_size=20) | st.sampled_from(
    ["[", "[]", "{}", "1e999", "NaN", "[" * 5000, "9" * 5000, "null", "\udcff"]
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(_sections, st.dictionaries(_names, _values, max_size=5) | _values, max_size=5),
    st.dictionaries(_variables, _texts, max_size=5),
    st.booleans(),
)
@example({"agent": {"settle": 10**5000}}, {}, False)
def test_no_document_crashes_the_loader(
    document: dict[str, object], variables: dict[str, str], strict: bool
) -> None:
    """Whatever is written, the answer is a configuration or a ConfigError with its problems."""
    try:
        loaded = config.merge(document, path=Path("any.toml"), environ=variables, flags={}, strict=strict)
    except ConfigError as exc:
        said = exc.problems
    else:
        said = (config_hash(loaded.config),)

    assert all(said)
    assert said
