"""
Running one command to its end, with everything it starts: the only place that makes processes.
"""

from __future__ import annotations

import enum
import fcntl
import math
import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple, Protocol

from conductor_loop import clock
from conductor_loop.model import Run
from conductor_loop.runtime.deadline import Deadline
from conductor_loop.work.capture import HeadTail
from conductor_loop.work.tree import ID_VARIABLE, Tree, end_tree, start_time

__all__ = ["ID_VARIABLE", "Abort", "Finish", "How", "StartError", "end_tree", "run", "start_time"]

_CHUNK_BYTES = 64 * 1024  #: what a pipe holds
_LONGEST_POLL_SECONDS = 3600.0  #: poll takes its milliseconds as a C int
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_GROUP_SECONDS = 0.05  #: between two looks at what the leader left behind


class How(enum.Enum):
    """
    Why a run is over.
    """

    EXITED = enum.auto()  #: by itself
    TIMEOUT = enum.auto()  #: killed, it took too long
    ABORTED = enum.auto()  #: killed, the agent stops


class Finish(NamedTuple):
    """
    The end of a run. Neither an exit code nor a signal in `run`: somebody else in this program took its status.
    """

    how: How
    run: Run


class StartError(Exception):
    """
    A command could not be started.

    Args:
        errno: why, or None for an argument that no command can be given.
    """

    def __init__(self, message: str, errno: int | None) -> None:
        super().__init__(message)
        self.errno = errno


class Abort:
    """
    The word to end all running commands; an event that `poll` can wait for.
    """

    def __init__(self) -> None:
        self._fd = os.eventfd(0)
        self.is_set = False

    def set(self) -> None:
        """
        Say it; returns at once, safe to call twice, from any thread and after `close`.
        """
        self.is_set = True
        if self._fd >= 0:
            os.eventfd_write(self._fd, 1)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        """
        Give the descriptor back, once no command runs any more.
        """
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


def run(
    argv: Sequence[str],
    *,
    executable: str,
    environ: Mapping[bytes, bytes],
    file_id: str,
    timeout: float,
    kill_grace: float,
    output_limit: int,
    abort: _HasFileno,
    spawned: Callable[[int, int | None], None],
) -> Finish:
    """
    Run a command in its own session until it ends, takes too long, or the agent stops.

    It has no input; what it writes is read all the time and mostly thrown away. A process that it leaves in the
    background does not delay the return, and is left alone if the command ended by itself.

    Args:
        executable: path of the program; `argv[0]` is only what it is told that it is called.
        environ: the whole environment; must hold `file_id` as `CONDUCTOR_FILE_ID`, by which its tree is found.
        timeout: seconds after which the whole tree is ended.
        kill_grace: seconds between asking for that end and killing.
        output_limit: bytes of output that are kept.
        abort: readable when the agent stops.
        spawned: called with pid and start time when the command runs.

    Raises:
        StartError: it could not be started; or, with ESRCH, SIGCHLD is ignored and it was gone at once.
    """
    started_at, began = clock.now_us(), time.monotonic()
    output = HeadTail(output_limit)
    with _started(argv, executable, environ, output) as child:
        spawned(child.pid, child.start_time)
        how = child.wait(Deadline.after(timeout), abort)
        survivors = 0 if how is How.EXITED else child.end_tree(Tree(file_id, child.pid), kill_grace)
        exit_code, killed_by = child.reap()
    return Finish(
        how,
        Run(
            started_at=started_at,
            duration=time.monotonic() - began,
            exit_code=exit_code,
            signal=killed_by,
            output=output.value(),
            output_bytes=output.total,
            survivors=survivors,
        ),
    )


class _Child:
    """
    One started command. Until `reap` its pid, and so the number of its process group, belongs to nobody else.
    """

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        *,
        start_time: int | None,
        pidfd: int,
        pipe: int,
        output: HeadTail,
    ) -> None:
        self.pid = popen.pid
        self.start_time = start_time
        self._popen = popen
        self._pidfd = pidfd
        self._pipe = pipe
        self._output = output
        self._poll = select.poll()
        self._poll.register(pidfd, select.POLLIN)
        self._poll.register(pipe, select.POLLIN)

    def wait(self, deadline: Deadline, abort: _HasFileno) -> How:
        """
        Wait for the first of its end, the deadline and the abort.
        """
        abort_fd = abort.fileno()
        self._poll.register(abort_fd, select.POLLIN)
        while True:
            ready = self._drain(deadline.remaining())
            if self._pidfd in ready:
                return How.EXITED
            if abort_fd in ready:
                self._poll.unregister(abort_fd)
                return How.ABORTED
            if deadline.expired:
                self._poll.unregister(abort_fd)
                return How.TIMEOUT

    def end_tree(self, tree: Tree, grace: float) -> int:
        """
        Ask the process group to end, kill everything that has not done so after `grace` seconds.

        Returns:
            How many processes are left.
        """
        tree.alive()  # remembers those that lose their parent when the group ends
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGTERM)
        self._wait_for_group(tree, Deadline.after(grace))
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # at once for all, whatever they are starting just now
        return tree.kill()

    def reap(self) -> tuple[int | None, int | None]:
        """
        Take what output is there; return exit code and signal, one of them None.

        Both are None if the status went elsewhere: somebody waits for any child, or SIGCHLD is ignored.
        """
        self._take_rest()
        self._popen.returncode = 0  # so that subprocess does not ask for the status as well
        try:
            ended = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        except ChildProcessError:
            return None, None
        if ended is None:  # only with WNOHANG
            return None, None
        return (ended.si_status, None) if ended.si_code == os.CLD_EXITED else (None, ended.si_status)

    def _wait_for_group(self, tree: Tree, deadline: Deadline) -> None:
        # The leader often ends first; its children get the rest of the grace to clean up as well.
        while not deadline.expired and self._pidfd not in self._drain(deadline.remaining()):
            pass
        self._poll.unregister(self._pidfd)
        while not deadline.expired and tree.group_alive():
            self._drain(min(deadline.remaining(), _GROUP_SECONDS))

    def _drain(self, timeout: float) -> set[int]:
        """
        Wait for something to happen; read if it is output. Return the descriptors where it happened.
        """
        milliseconds = math.ceil(min(timeout, _LONGEST_POLL_SECONDS) * 1000)
        ready = {fd for fd, _ in self._poll.poll(milliseconds)}
        if self._pipe in ready and not self._read(_CHUNK_BYTES):
            self._poll.unregister(self._pipe)  # closed by all who wrote to it
        return ready

    def _take_rest(self) -> None:
        # Not until the end of the pipe: a process left in the background may hold it, and may write for ever.
        waiting = struct.unpack("i", fcntl.ioctl(self._pipe, termios.FIONREAD, bytes(4)))[0]
        while waiting > 0 and (taken := self._read(waiting)):
            waiting -= taken

    def _read(self, size: int) -> int:
        chunk = os.read(self._pipe, size)
        self._output.feed(chunk)
        return len(chunk)


@contextmanager
def _started(
    argv: Sequence[str], executable: str, environ: Mapping[bytes, bytes], output: HeadTail
) -> Iterator[_Child]:
    with ExitStack() as stack:
        try:
            child = _start(stack, argv, executable, environ, output)
        except OSError as error:
            raise StartError(os.strerror(error.errno or 0), error.errno) from error
        except ValueError as error:
            raise StartError(str(error), None) from error
        yield child


def _start(
    stack: ExitStack, argv: Sequence[str], executable: str, environ: Mapping[bytes, bytes], output: HeadTail
) -> _Child:
    pipe, write_end = os.pipe()
    stack.callback(os.close, pipe)
    tick = _tick()
    try:
        popen = subprocess.Popen(
            argv,
            executable=executable,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=write_end,
            stderr=write_end,
            start_new_session=True,
        )
    finally:
        os.close(write_end)
    stack.callback(_discard, popen)
    # Looking into /proc for it costs as much as all else here together; mostly the clock tells it as well.
    started = tick if tick == _tick() else start_time(popen.pid)
    pidfd = os.pidfd_open(popen.pid)
    stack.callback(os.close, pidfd)
    return _Child(popen, start_time=started, pidfd=pidfd, pipe=pipe, output=output)


def _tick() -> int:
    """
    Return the present moment as the kernel would note it for a process that starts now.
    """
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // _TICK_NS


def _discard(popen: subprocess.Popen[bytes]) -> None:
    """
    End a child that nobody came to reap, because something went wrong on our side.
    """
    if popen.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()
