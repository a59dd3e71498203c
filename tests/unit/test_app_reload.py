"""
Reading the configuration again: what is told, what is kept, what is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from conductor_loop import config
from conductor_loop.app.reload import Reloader
from conductor_loop.config import Config, config_hash
from conductor_loop.errors import ConfigError, PermissionDeniedError
from conductor_loop.metrics.live import Live


class Parts:
    """
    Parts that note what they take over.
    """

    def __init__(self) -> None:
        self.prepared: list[Config] = []
        self.taken: list[Config] = []
        self.refuses = False
        self.fails = False

    def prepare(self, config: Config) -> Callable[[], None]:
        if self.refuses:
            raise ConfigError("processor.handler: no such function", "validation.schema: no schema")
        self.prepared.append(config)
        return partial(self._take_over, config)

    def _take_over(self, config: Config) -> None:
        if self.fails:
            raise ConfigError("agent.max_workers = 256: not so many can be started now")
        self.taken.append(config)


class Desk:
    """
    A reloader over a real file.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "agent.toml"
        self.live = Live(max_workers=4, command_name="porch")
        self.parts = Parts()
        self.write("")
        self.flags: dict[str, object] = {}
        self.reloader = Reloader(self._load().config, load=self._load, parts=self.parts, live=self.live)

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def reload(self, text: str, *, dry_run: bool = False) -> Any:
        self.write(text)
        return self.reloader.reload(dry_run=dry_run)

    @property
    def warning(self) -> str | None:
        return self.live.snapshot().warnings.get("restart")

    def _load(self) -> config.Loaded:
        return config.load(self.path, environ={}, flags=getattr(self, "flags", {}))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_what_has_changed_is_taken_over_and_told(desk: Desk) -> None:
    """
    By name, with the old and the new value as a file has them.
    """
    before = desk.reloader.config_hash()
    reloaded = desk.reload('[agent]\nmax_workers = 8\nsettle = "2s"\n[retry]\nretry_exit_codes = [75, 76]\n')

    assert reloaded.changed == {
        "agent.max_workers": (4, 8),
        "agent.settle": ("500ms", "2s"),
        "retry.retry_exit_codes": ([75], [75, 76]),
    }
    assert reloaded.needs_restart == {}
    assert reloaded.warnings == ()
    assert [taken.agent.max_workers for taken in desk.parts.taken] == [8]
    assert desk.reloader.config.agent.settle == 2.0
    assert before != desk.reloader.config_hash() == reloaded.config_hash == config_hash(desk.reloader.config)
    assert desk.warning is None


def test_dry_run_tells_the_same_and_changes_nothing(desk: Desk) -> None:
    """
    Down to the hash that it would have.
    """
    before = desk.reloader.config, desk.reloader.config_hash()
    text = '[agent]\nmax_workers = 8\nname = "other"\n'
    told = desk.reload(text, dry_run=True)

    assert (desk.reloader.config, desk.reloader.config_hash()) == before
    assert desk.parts.taken == []
    assert desk.warning is None
    assert desk.reload(text) == told


def test_dry_run_refuses_what_would_be_refused(desk: Desk) -> None:
    """
    The schema and the handler are looked at as well.
    """
    desk.parts.refuses = True

    with pytest.raises(ConfigError, match="no such function"):
        desk.reload("[agent]\nmax_workers = 8\n", dry_run=True)


def test_what_needs_a_restart_keeps_its_value_until_then(desk: Desk) -> None:
    """
    The rest is taken over, and the hash is that of what is in use.
    """
    text = '[agent]\nname = "other"\nmax_workers = 8\n[http]\nmetrics_port = 9999\n'
    reloaded = desk.reload(text)
    again = desk.reload(text)

    assert reloaded.changed == {"agent.max_workers": (4, 8)}
    assert reloaded.needs_restart == {"agent.name": ("agent", "other"), "http.metrics_port": (8080, 9999)}
    assert (again.changed, again.needs_restart) == ({}, reloaded.needs_restart)
    assert [(c.agent.name, c.http.metrics_port) for c in desk.parts.taken] == [("agent", 8080)] * 2
    assert reloaded.config_hash == config_hash(desk.reloader.config) != config_hash(desk._load().config)
    assert desk.warning == (
        f'agent.name is "other" (file {desk.path}), restart to use it; '
        f"http.metrics_port is 9999 (file {desk.path}), restart to use it"
    )


def test_warning_of_a_restart_goes_when_the_key_is_changed_back(desk: Desk) -> None:
    """
    There is nothing to restart for any more.
    """
    desk.reload('[agent]\nname = "other"\n')
    warned = desk.warning
    desk.reload("")

    assert warned
    assert desk.warning is None


def test_directories_that_follow_the_handoff_directory_wait_with_it(desk: Desk) -> None:
    """
    None of them moves alone.
    """
    reloaded = desk.reload('[agent]\nhandoff_dir = "/elsewhere"\n')

    assert reloaded.changed == {}
    assert set(reloaded.needs_restart) == {
        "agent.handoff_dir",
        *(f"agent.{name}_dir" for name in ("processed", "failed", "status", "work")),
    }
    assert desk.reloader.config == Config()


@pytest.mark.parametrize(
    "text",
    [
        "[agent]\nmax_workers = 0\n[retry]\nmax_attempts = 0\n",
        "[agent\n",
        '[agent]\nsettle = "20m"\n',
        '[validation]\nschema = "/nowhere/schema.json"\n',
    ],
    ids=["values", "no TOML", "keys at odds", "missing schema"],
)
def test_bad_file_changes_nothing(desk: Desk, text: str) -> None:
    """
    Everything that is wrong is named, and what was in use stays.
    """
    desk.reload("[agent]\nmax_workers = 8\n")
    with pytest.raises(ConfigError) as caught:
        desk.reload(text)

    assert len(caught.value.problems) == text.count(" = 0") or 1
    assert len(desk.parts.taken) == 1
    assert desk.reloader.config.agent.max_workers == 8
    assert desk.reload("[agent]\nmax_workers = 8\n").changed == {}


def test_bad_schema_and_handler_are_named_together_with_the_warnings(desk: Desk) -> None:
    """
    A misspelt key may be the cause.
    """
    desk.parts.refuses = True
    with pytest.raises(ConfigError) as caught:
        desk.reload("[agent]\nmax_workers = 8\nmax_worker = 9\n")

    assert caught.value.problems == ("processor.handler: no such function", "validation.schema: no schema")
    assert 'did you mean "max_workers"?' in str(caught.value)
    assert desk.reloader.config == Config()


def test_what_fails_at_the_last_moment_changes_nothing(desk: Desk) -> None:
    """
    No further threads can be had, say; the next try finds the same difference.
    """
    desk.parts.fails = True
    text = '[agent]\nmax_workers = 256\nname = "other"\n'
    with pytest.raises(ConfigError, match="not so many"):
        desk.reload(text)
    desk.parts.fails = False

    assert desk.warning is None
    assert desk.reloader.config == Config()
    assert desk.reload(text).changed == {"agent.max_workers": (4, 256)}


def test_file_that_may_not_be_read_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Or that is gone.
    """

    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", denied)
        with pytest.raises(PermissionDeniedError):
            desk.reloader.reload(dry_run=False)
    desk.path.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        desk.reloader.reload(dry_run=False)

    assert desk.parts.taken == []


def test_warnings_of_the_file_are_told(desk: Desk) -> None:
    """
    As a start tells them.
    """
    reloaded = desk.reload("[agent]\nmax_worker = 9\n")

    assert len(reloaded.warnings) == 1
    assert 'max_worker = 9: unknown key; did you mean "max_workers"?' in reloaded.warnings[0]


def test_secrets_are_not_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Only that they differ.
    """
    monkeypatch.setattr("conductor_loop.config.loader.findings", lambda config: [])
    reloaded = desk.reload('[store]\nurl = "postgresql://ada:geheim@db/history"\n')

    assert reloaded.needs_restart == {"store.url": ("", "(secret)")}
    assert desk.warning
    assert "geheim" not in desk.warning


def test_unchanged_file_is_taken_over_all_the_same(desk: Desk) -> None:
    """
    The schema that it names may have other content now.
    """
    reloaded = desk.reload("")

    assert reloaded.changed == {}
    assert len(desk.parts.taken) == 1


def test_options_of_the_command_line_still_beat_the_file(desk: Desk) -> None:
    """
    Whoever gave one at the start meant it.
    """
    desk.flags["log.level"] = "debug"
    reloaded = desk.reload('[log]\nlevel = "error"\n')

    assert reloaded.changed == {"log.level": ("info", "debug")}


def test_one_reload_at_a_time(desk: Desk) -> None:
    """
    Two operators at once: each is told what has become of the configuration by its own turn.
    """
    inside, go_on = threading.Event(), threading.Event()
    prepare = desk.parts.prepare

    def slowly(config: Config) -> Callable[[], None]:
        inside.set()
        go_on.wait(10)
        return prepare(config)

    desk.parts.prepare = slowly  # type: ignore[method-assign]
    desk.write("[agent]\nmax_workers = 8\n")
    told: list[Any] = []
    threads = [
        threading.Thread(target=lambda: told.append(desk.reloader.reload(dry_run=False))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    inside.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)

    assert [reloaded.changed for reloaded in told] == [{"agent.max_workers": (4, 8)}, {}]
