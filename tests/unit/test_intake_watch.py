"""
Real watchdog, and what happens without it.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from conductor_loop.intake import watch as module
from conductor_loop.intake.hints import Hint
from conductor_loop.intake.watch import Watch, hooks_work
from waiting import wait_until


class Heard(dict[str, Hint]):
    """
    What a watch said last of each name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.gone = threading.Event()

    def __call__(self, name: str, hint: Hint) -> None:
        self.count += 1
        self[name] = hint


def watch_on(path: Path, heard: Heard, *, stock: bool = False) -> Watch:
    """
    Return a watch that has started.
    """
    watch = Watch(path, on_hint=heard, on_overflow=lambda: None, on_gone=heard.gone.set, stock=stock)
    watch.start()
    return watch


def test_hooks_work_with_this_watchdog() -> None:
    """
    A new release that changed the private names fails here first.
    """
    before = threading.active_count()

    assert hooks_work()
    assert threading.active_count() == before


def test_one_hint_per_file_and_its_kind(tmp_path: Path) -> None:
    """
    Renamed in and written in place are told apart; reading, leaving and creating say nothing.
    """
    inbox = tmp_path / "in"
    inbox.mkdir()
    (tmp_path / "x").write_text("")
    heard = Heard()
    watch = watch_on(inbox, heard)
    try:
        (tmp_path / "x").rename(inbox / "moved")
        (inbox / "written").write_text("1")
        (inbox / "moved").read_text()
        (inbox / "moved").unlink()
        (inbox / "folder").mkdir()
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder").rename(inbox / "another")
        (inbox / "last").write_text("1")
        wait_until(lambda: "last" in heard)
    finally:
        watch.stop()

    assert heard == {"moved": Hint.MOVED, "written": Hint.CLOSED, "last": Hint.CLOSED}
    assert heard.count == 3


def test_watched_through_a_symlink(tmp_path: Path) -> None:
    """
    The handoff directory may be one.
    """
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    heard = Heard()
    watch = watch_on(tmp_path / "link", heard)
    try:
        (tmp_path / "link" / "x").write_text("")
        wait_until(lambda: "x" in heard)
    finally:
        watch.stop()


def test_deleted_directory_ends_the_watch(tmp_path: Path) -> None:
    """
    Watchdog's observer goes on to look alive; we do not.
    """
    inbox = tmp_path / "in"
    inbox.mkdir()
    heard = Heard()
    watch = watch_on(inbox, heard)
    try:
        assert watch.alive
        inbox.rmdir()
        wait_until(lambda: not watch.alive)
        wait_until(heard.gone.is_set)
    finally:
        watch.stop()
    assert not watch.alive


def test_start_on_nothing_fails_and_leaves_nothing(tmp_path: Path) -> None:
    """
    The caller falls back to polling.
    """
    hooks_work()  # what is loaded only once is loaded
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    watch = Watch(tmp_path / "x", on_hint=Heard(), on_overflow=lambda: None, on_gone=lambda: None)
    with pytest.raises(OSError, match=r"No such file|Not a directory"):
        watch.start()
    watch.stop()

    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before


def test_stock_watchdog_serves_as_well(tmp_path: Path) -> None:
    """
    A file that is created is not taken for one renamed in.
    """
    heard = Heard()
    watch = watch_on(tmp_path, heard, stock=True)
    try:
        (tmp_path / ".x").write_text("")
        (tmp_path / "written").write_text("")
        (tmp_path / ".x").rename(tmp_path / "moved")
        wait_until(lambda: heard.get("moved") is Hint.MOVED)
    finally:
        watch.stop()

    assert heard["written"] is Hint.CLOSED


@pytest.mark.parametrize("broken", ["_Emitter", "_readers"])
def test_broken_hooks_are_noticed(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Either private name may go its way in a release to come.
    """
    replacement = {"_Emitter": object, "_readers": lambda _: []}[broken]
    monkeypatch.setattr(module, broken, replacement)

    assert not hooks_work(0.3)


def test_another_watchdog_user_in_the_process_is_left_alone(tmp_path: Path) -> None:
    """
    The agent may be embedded in a program with observers of its own.
    """
    seen: list[object] = []

    class Handler(module.FileSystemEventHandler):
        def on_any_event(self, event: object) -> None:
            seen.append(event)

    observer = module.InotifyObserver()
    observer.schedule(Handler(), str(tmp_path))
    observer.start()
    try:
        (tmp_path / "x").write_text("")
        wait_until(lambda: any(isinstance(event, module.FileClosedEvent) for event in seen))
    finally:
        observer.stop()
        observer.join()
