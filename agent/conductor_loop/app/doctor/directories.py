"""
Checks of the directories: whether they are there, whose they are, and whether files can be moved between them.
"""

from __future__ import annotations

import errno
import itertools
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from conductor_loop.app.doctor.findings import Check, Subject, failed, ok, standing, warning
from conductor_loop.config import Config
from conductor_loop.host.disk import DiskWatch, free_space
from conductor_loop.intake import mounts
from conductor_loop.ledger import moves
from conductor_loop.model import display_name

_FULL = os.R_OK | os.W_OK | os.X_OK


def check_directories(subject: Subject) -> Iterator[Check]:
    """
    Look at every directory of the configuration.
    """
    for name, path in _directories(subject.config).items():
        yield _check_directory(subject, name, path)
    yield from _check_handoff(subject)
    yield from _check_state(subject.config.agent.state_dir)


def check_moves(config: Config) -> Iterator[Check]:
    """
    Find out whether files can be moved along their way, by moving one that does not exist.

    The kernel looks first whether both directories are on one mount, and only then for the file.
    """
    agent = config.agent
    way = [agent.handoff_dir, agent.work_dir, agent.failed_dir, agent.processed_dir, agent.status_dir]
    for here, there in itertools.pairwise(way):
        problem = _move_problem(standing(here), standing(there))
        if problem:
            yield failed(
                "moves",
                f"files cannot be moved from {_shown(here)} to {_shown(there)}: {problem}",
                "put the handoff, work, processed, failed and status directories on one file system and mount",
            )
            return
    yield ok("moves", "one file system: files can be moved between the directories")


def check_space(config: Config) -> Iterator[Check]:
    """
    Compare free space and inodes with the minimum at which intake pauses.
    """
    paths = [
        standing(path)
        for path in (config.agent.handoff_dir, config.agent.state_dir, config.processor.out_dir)
    ]
    short: list[str] = []
    DiskWatch(
        paths,
        min_free=config.agent.min_free,
        pause=lambda reason, words: short.append(words),
        resume=lambda reason: None,
        stands=lambda: False,
    ).check()
    if short:
        yield failed("space", short[0], "make room, or lower agent.min_free; until then no files are taken")
    else:
        spaces = [space for path in paths if (space := free_space(path))]
        free = min((space.bytes for space in spaces), default=0)
        yield ok(
            "space", f"{free / 1024**2:.0f} MiB free, {config.agent.min_free / 1024**2:.0f} MiB are needed"
        )


def _directories(config: Config) -> dict[str, Path]:
    agent = config.agent
    return {
        "handoff_dir": agent.handoff_dir,
        "work_dir": agent.work_dir,
        "processed_dir": agent.processed_dir,
        "failed_dir": agent.failed_dir,
        "status_dir": agent.status_dir,
        "state_dir": agent.state_dir,
        "out_dir": config.processor.out_dir,
    }


def _check_directory(subject: Subject, name: str, path: Path) -> Check:
    user, shown = subject.user, _shown(path)
    above = standing(path)
    if above != path:
        if above.is_dir() and user.may(above, os.W_OK | os.X_OK):
            return ok(name, f"{shown}: is not there yet; the agent makes it when it starts")
        hint = f"make it: install -d -o {user.name} -m 2770 {shown}"
        return failed(
            name, f"{shown}: is not there, and {user.name} may not make it in {_shown(above)}", hint
        )
    if not path.is_dir():
        return failed(name, f"{shown}: is no directory", "move it out of the way")
    if not user.may(path, _FULL):
        hint = f"give it to {user.name}: chown {user.name} {shown} && chmod u+rwx {shown}"
        return failed(name, f"{shown}: {user.name} may not read, write and search it", hint)
    real = os.path.realpath(path)
    if real != os.path.abspath(path):
        hint = "write the real path, so that nobody sends the files elsewhere by changing the link"
        return warning(
            name, f"{shown}: there is a symbolic link in this path; it leads to {display_name(real)}", hint
        )
    return ok(name, f"{shown}: {user.name} may work in it")


def _check_handoff(subject: Subject) -> Iterator[Check]:
    path, user = subject.config.agent.handoff_dir, subject.user
    if not path.is_dir():
        return
    found = path.stat()
    if found.st_mode & stat.S_ISVTX and user.uid not in (0, found.st_uid):
        yield failed(
            "producers",
            f"{_shown(path)}: is sticky and not {user.name}'s, who cannot take other users' files out of it",
            f"chown {user.name} {_shown(path)}, or chmod -t {_shown(path)}",
        )
    elif found.st_mode & stat.S_IWGRP and not found.st_mode & stat.S_ISGID:
        yield warning(
            "producers",
            f"{_shown(path)}: its group may write, and new files get the group of whoever drops them",
            f"if {user.name} cannot read what is dropped: chmod g+s {_shown(path)}",
        )
    kind = mounts.fstype_of(path)
    if mounts.is_network(kind):
        yield warning(
            "handoff_dir",
            f"{_shown(path)}: is on {kind}, where no event tells of new files",
            "nothing to do: it is polled; expect files to be noticed later, see agent.scan_interval",
        )


def _check_state(path: Path) -> Iterator[Check]:
    kind = mounts.fstype_of(standing(path))
    if mounts.is_network(kind):
        yield failed(
            "state_dir",
            f"{_shown(path)}: is on {kind}, where a database loses data",
            "set agent.state_dir to a directory on a local file system",
        )


def _move_problem(here: Path, there: Path) -> str | None:
    name = f".conductor-{secrets.token_hex(8)}"  # which nobody has
    if here.stat().st_dev != there.stat().st_dev:
        return "they are on different file systems"
    with ExitStack() as stack:
        source, target = (_open(path, stack) for path in (here, there))
        try:
            moves.rename_noreplace(source, name, target, name)
        except FileNotFoundError:
            return None
        except PermissionError:  # of this user; what the agent's may do, the directories themselves tell
            raise
        except OSError as error:
            return "they are on different mounts" if error.errno == errno.EXDEV else str(error.strerror)
    return None


def _open(path: Path, stack: ExitStack) -> int:
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return fd


def _shown(path: Path) -> str:
    return display_name(str(path))
