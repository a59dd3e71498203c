"""
Hints from inotify: the only module that knows watchdog.

Stock watchdog asks for every kind of event. Then a file moved *out* of the directory holds back all events behind it
for 0.5 s, and beside busy threads the kernel's queue overflows, because every event is handed from thread to thread
three times. So the mask is cut down to what brings a file, and names are taken where watchdog parses what it read.
That needs private names of watchdog (6 and 7 have them); `hooks_work` proves at start that they still do what they
did, else watchdog is used as it comes.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from watchdog.events import (
    DirDeletedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import inotify_c
from watchdog.observers.inotify import InotifyEmitter, InotifyObserver
from watchdog.observers.inotify_c import InotifyConstants
from watchdog.utils import BaseThread

from conductor_loop.intake.hints import Hint

SELF_TEST_SECONDS = 2.0  #: a loaded machine needs some; a working hook answers in milliseconds

_BRINGS = InotifyConstants.IN_CLOSE_WRITE | InotifyConstants.IN_MOVED_TO
_MASK = (
    _BRINGS | InotifyConstants.IN_DELETE_SELF | InotifyConstants.IN_MOVE_SELF | InotifyConstants.IN_ONLYDIR
)

OnHint = Callable[[str, Hint], None]


class Watch:
    """
    Watches one directory, without its subdirectories, from `start` to `stop`.

    Args:
        path: of the directory; a symlink to it is followed.
        on_hint: called with a name and what happened, in watchdog's thread; must return at once and never raise,
            like the other two.
        on_overflow: called when the kernel dropped events.
        on_gone: called when the directory was deleted.
        stock: use watchdog as it comes. Then a file that is renamed in looks like one written in place.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_hint: OnHint,
        on_overflow: Callable[[], None],
        on_gone: Callable[[], None],
        stock: bool = False,
    ) -> None:
        self._path = os.path.realpath(path)
        self._on_hint = on_hint
        self._on_overflow = on_overflow
        self._on_gone = on_gone
        self._stock = stock
        self._observer: InotifyObserver | None = None
        self.direct = False  #: whether an event has come without watchdog's detours

    def start(self) -> None:
        """
        Begin.

        Raises:
            OSError: if the directory cannot be watched; ENOSPC and EMFILE mean a limit of the kernel.
        """
        observer = InotifyObserver()
        if not self._stock:
            observer._emitter_class = _Emitter  # noqa: SLF001 - see the module
        try:
            observer.schedule(_Handler(self._take), self._path)
            observer.start()
        except BaseException:
            self._end(observer)
            raise
        if not self._stock:
            _watch_of_reader.update(dict.fromkeys(_readers(observer), self))
        self._observer = observer

    def stop(self) -> None:
        """
        End and wait for watchdog's threads; safe to call twice.
        """
        if self._observer is not None:
            self._end(self._observer)
            self._observer = None

    @property
    def alive(self) -> bool:
        """
        Tell whether all threads that a hint passes through live.
        """
        observer = self._observer
        return (
            observer is not None
            and observer.is_alive()
            and bool(observer.emitters)
            and all(emitter.is_alive() for emitter in observer.emitters)
        )

    def take_raw(self, mask: int, name: bytes) -> bool:
        """
        Take an event as the kernel gave it, in the thread that read it; tell whether there is nothing more to do.
        """
        self.direct = True
        if mask & InotifyConstants.IN_Q_OVERFLOW:
            self._on_overflow()
        if not mask & _BRINGS:
            return False
        if not mask & InotifyConstants.IN_ISDIR:
            moved = mask & InotifyConstants.IN_MOVED_TO
            self._on_hint(os.fsdecode(name), Hint.MOVED if moved else Hint.CLOSED)
        return True

    def _take(self, event: FileSystemEvent) -> None:
        kind = type(event)
        if kind in {FileClosedEvent, FileCreatedEvent}:  # created may mean that its writer has just begun
            self._hint(event.src_path, Hint.CLOSED)
        elif kind is FileMovedEvent:
            self._hint(event.dest_path, Hint.MOVED)
        elif kind is DirDeletedEvent:
            self._on_gone()

    def _hint(self, path: bytes | str, hint: Hint) -> None:
        directory, _, name = os.fsdecode(path).rpartition("/")
        if directory == self._path:
            self._on_hint(name, hint)

    def _end(self, observer: InotifyObserver) -> None:
        for reader in [reader for reader, watch in _watch_of_reader.items() if watch is self]:
            del _watch_of_reader[reader]
        observer.stop()
        if observer.ident is not None:
            observer.join()


class _Emitter(InotifyEmitter):
    """
    Watchdog's own with the small mask.
    """

    def get_event_mask_from_filter(self) -> Any:
        return _MASK


class _Handler(FileSystemEventHandler):
    """
    The way of events in stock watchdog.
    """

    def __init__(self, take: Callable[[FileSystemEvent], None]) -> None:
        self._take = take

    def on_any_event(self, event: FileSystemEvent) -> None:
        self._take(event)


_watch_of_reader: dict[object, Watch] = {}  # by thread

_Raw = tuple[int, int, int, bytes]  # watch descriptor, mask, cookie, name
_Parse = Callable[[bytes], Iterator[_Raw]]


def _readers(observer: InotifyObserver) -> list[BaseThread]:
    """
    Return the threads that read from the kernel: the observer has one in watchdog 7, each emitter in watchdog 6.
    """
    owners = [(observer, "_inotify_fd"), *((emitter, "_inotify") for emitter in observer.emitters)]
    found = [getattr(owner, name, None) for owner, name in owners]
    return [thread for thread in found if isinstance(thread, BaseThread)]


def _hook_parser() -> None:
    owner: Any = getattr(inotify_c, "InotifyFD", None) or getattr(inotify_c, "Inotify", None)
    parse: _Parse | None = getattr(owner, "_parse_event_buffer", None)
    if parse is not None:
        owner._parse_event_buffer = staticmethod(functools.partial(_parse, parse))  # noqa: SLF001 - see the module


def _parse(parse: _Parse, buffer: bytes) -> Iterator[_Raw]:
    watch = _watch_of_reader.get(threading.current_thread())
    if watch is None:  # not ours: the program that we are embedded in may use watchdog too
        return parse(buffer)
    return iter([event for event in parse(buffer) if not watch.take_raw(event[1], event[3])])


_hook_parser()


def hooks_work(seconds: float = SELF_TEST_SECONDS) -> bool:
    """
    Prove in a private directory that mask and hook work with this watchdog.

    Args:
        seconds: how long the answer may take.

    Raises:
        OSError: if nothing can be watched at all, or there is no place for temporary files.
    """
    heard = threading.Event()

    def on_hint(name: str, hint: Hint) -> None:
        if (name, hint) == ("probe", Hint.MOVED):
            heard.set()

    with tempfile.TemporaryDirectory(prefix="conductor-loop-") as folder:
        watch = Watch(Path(folder), on_hint=on_hint, on_overflow=_ignore, on_gone=_ignore)
        with contextlib.suppress(AttributeError, TypeError):  # what a changed watchdog would raise
            watch.start()
        try:
            Path(folder, ".probe").touch()
            Path(folder, ".probe").rename(Path(folder, "probe"))
            return heard.wait(seconds) and watch.direct
        finally:
            watch.stop()


def _ignore() -> None:
    pass
