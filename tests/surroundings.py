"""
Surroundings that fail: a store that is locked and, for root to make, small file systems and another user.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from agents import PROGRAM

NOBODY = 65534
#: the agent as a user who owns nothing
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *PROGRAM)


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """
    Give a file system of its own at `path`, as large as `size` ("4m") says.
    """
    need_root()
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        # Lazily: who still has a file open there must not keep the test from ending.
        subprocess.run(["umount", "--lazy", path], check=True)


@contextmanager
def as_nobody(path: Path) -> Iterator[None]:
    """
    Be another user meanwhile, who may search the directories down to `path`.
    """
    need_root()
    for folder in (path, *path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def remount(path: Path, options: str) -> None:
    """
    Change the options of a file system, as "ro" or "size=8m".
    """
    subprocess.run(["mount", "-o", f"remount,{options}", path], check=True)


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """
    Keep everybody else from writing to the store.
    """
    with closing(sqlite3.connect(state / "history.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def fill(path: Path) -> Path:
    """
    Take all the space below a directory; return the file that has it.
    """
    filler = path / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return filler


@contextmanager
def land_of_nobody() -> Iterator[Path]:
    """
    Give a directory of the user nobody, who can run the agent.
    """
    need_root()
    root = Path(tempfile.mkdtemp(prefix="conductor-loop-test-"))
    try:
        give(root)
        probe = subprocess.run(
            [*AS_NOBODY, "--help"],
            cwd=root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        if probe.returncode:
            missing("the user nobody cannot read this checkout or its interpreter")
        yield root
    finally:
        shutil.rmtree(root)


def give(*paths: Path) -> None:
    """
    Make the user nobody the owner.
    """
    for path in paths:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def need_root() -> None:
    """
    Skip the test that asks, unless root runs it.
    """
    if os.geteuid():
        missing("needs root")


def missing(reason: str) -> NoReturn:
    """
    Skip the test that lacks something here; where everything must be there (CI is set), fail it.
    """
    if os.environ.get("CI"):
        pytest.fail(f"CI is set, so no test may be left out: {reason}")
    pytest.skip(reason)
