"""
Everything that one command started, found in /proc, and its end.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from conductor_loop.runtime.deadline import Deadline

ID_VARIABLE = "CONDUCTOR_FILE_ID"  #: in the environment of every command; its children inherit it

_KILL_SECONDS = 2.0  #: a killed process that is still there by then hangs in the kernel
_ROUND_MILLISECONDS = 100  #: between two looks at those that do not end


@dataclass(frozen=True, slots=True)
class Process:
    """
    One line of the kernel's table.
    """

    pid: int
    parent: int
    group: int
    session: int
    start_time: int  #: clock ticks since boot; with the pid it is never used again
    dead: bool  #: ended and only not yet reaped


class Tree:
    """
    The processes that belong to one run of a command.

    Those are its leader's process group and session, whoever has our file id in the environment, and all their
    descendants. A process seen once is remembered, so that one which left group and session, cleared its environment
    and lost its parent in the meantime is still found.

    Args:
        file_id: value of `CONDUCTOR_FILE_ID` in its environment.
        leader: pid of the command, which started its own session; None if it is not there any more. Its number must
            not be free for use by others.
    """

    def __init__(self, file_id: str, leader: int | None) -> None:
        self._entry = f"{ID_VARIABLE}={file_id}".encode()
        self._leader = leader
        self._seen: dict[int, int] = {}

    def alive(self) -> list[Process]:
        """
        Return the members that have not ended.
        """
        table = [process for process in _table() if not process.dead and process.pid != os.getpid()]
        members = {process.pid: process for process in table if self._belongs(process)}
        found = members
        while found:
            found = {p.pid: p for p in table if p.parent in found and p.pid not in members}
            members |= found
        self._seen.update({process.pid: process.start_time for process in members.values()})
        return list(members.values())

    def group_alive(self) -> bool:
        """
        Tell whether a member of the leader's own process group has not ended.
        """
        return any(process.group == self._leader for process in self.alive())

    def kill(self) -> int:
        """
        Kill all members, and those they start meanwhile; return how many are left after 2 seconds.
        """
        deadline = Deadline.after(_KILL_SECONDS)
        while members := self.alive():
            if deadline.expired:
                return len(members)
            _kill(members)
        return 0

    def _belongs(self, process: Process) -> bool:
        return (
            (self._leader is not None and self._leader in (process.group, process.session))
            or self._seen.get(process.pid) == process.start_time
            or self._entry in _read(f"/proc/{process.pid}/environ").split(b"\0")
        )


def start_time(pid: int) -> int | None:
    """
    Return when `pid` started, in clock ticks since boot, or None if there is no such process.
    """
    process = _parse(pid, _read(f"/proc/{pid}/stat"))
    return process.start_time if process else None


def end_tree(file_id: str, pid: int | None, start_time: int | None) -> int:
    """
    End what a dead agent left running for a file; return how many processes are left after 2 seconds.

    Args:
        file_id: of the file.
        pid: of the command, if it is known; it is believed only if it still has `start_time`.
        start_time: of `pid`, as `start_time` returned it in this boot of the machine.
    """
    leader = pid if pid is not None and start_time is not None and _started(pid) == start_time else None
    return Tree(file_id, leader).kill()


_started = start_time  # `end_tree` has a parameter of that name


def _table() -> list[Process]:
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [process for pid in pids if (process := _parse(pid, _read(f"/proc/{pid}/stat")))]


def _parse(pid: int, stat: bytes) -> Process | None:
    # The second field is the command's name in brackets, and may hold spaces, brackets and line ends itself.
    fields = stat[stat.rfind(b")") + 1 :].split()
    if not fields:
        return None
    return Process(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        start_time=int(fields[19]),
        dead=fields[0] in (b"Z", b"X"),
    )


def _read(path: str) -> bytes:
    # Processes end while they are looked at, and those of other users do not show their environment.
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def _kill(processes: list[Process]) -> None:
    """
    Kill `processes` and wait a moment for their end.
    """
    with ExitStack() as stack:
        poll = select.poll()
        for process in processes:
            # By descriptor and with a look at the start time: the number may belong to another process by now.
            with suppress(OSError):
                fd = os.pidfd_open(process.pid)
                stack.callback(os.close, fd)
                if start_time(process.pid) == process.start_time:
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
                    poll.register(fd, select.POLLIN)
        poll.poll(_ROUND_MILLISECONDS)
