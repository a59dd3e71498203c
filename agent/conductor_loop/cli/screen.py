"""
A terminal taken for a live view, and given back as it was.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType

_TAKE, _GIVE_BACK = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # other screen, no cursor; and back
_HOME, _END_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"
_QUIT = b"q\x03\x04"  # q, Ctrl-C, Ctrl-D


class Screen:
    """
    The terminal of this process while it is taken; see `take_screen`.

    Args:
        changed: descriptor that can be read once the terminal has another size.
        keys: whether stdin is a terminal.
    """

    def __init__(self, changed: int, *, keys: bool) -> None:
        self._changed = changed
        self._keys = keys

    def show(self, lines: Sequence[str]) -> None:
        """
        Replace what is shown; what does not fit is left out below.
        """
        height = shutil.get_terminal_size().lines
        picture = "\n".join(f"{line}{_END_OF_LINE}" for line in lines[:height])
        sys.stdout.write(f"{_HOME}{picture}{_REST}")
        sys.stdout.flush()

    def wait(self, seconds: float) -> bool:
        """
        Wait for the next picture; False if somebody has seen enough. Ends early when the size changes.
        """
        watched = [self._changed, *([sys.stdin.fileno()] if self._keys else [])]
        ready, _, _ = select.select(watched, [], [], seconds)
        if self._changed in ready:
            os.read(self._changed, 4096)
        if sys.stdin.fileno() in ready:
            typed = os.read(sys.stdin.fileno(), 4096)
            return not (set(typed) & set(_QUIT)) and bool(typed)
        return True


@contextmanager
def take_screen() -> Iterator[Screen]:
    """
    Take the terminal for as long as this lasts, however it ends.
    """
    with ExitStack() as stack:
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        stack.callback(os.close, reading)
        stack.callback(os.close, writing)

        def resized(number: int, frame: FrameType | None) -> None:
            with suppress(BlockingIOError):
                os.write(writing, b"x")

        keys = sys.stdin.isatty()
        if keys:
            stack.callback(termios.tcsetattr, sys.stdin, termios.TCSADRAIN, termios.tcgetattr(sys.stdin))
        stack.callback(_write, _GIVE_BACK)
        for number, handler in ((signal.SIGWINCH, resized), (signal.SIGTERM, _end), (signal.SIGHUP, _end)):
            stack.callback(signal.signal, number, signal.signal(number, handler))
        if keys:
            tty.setcbreak(sys.stdin)
        _write(_TAKE)
        yield Screen(reading, keys=keys)


def _write(words: str) -> None:
    with suppress(OSError):  # a terminal that is gone needs nothing any more
        sys.stdout.write(words)
        sys.stdout.flush()


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
