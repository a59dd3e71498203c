"""
Moves that never overwrite, with and without the kernel's help.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor_loop.ledger import moves


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield opened
    os.close(opened)


@pytest.fixture(params=["renameat2", "EINVAL", "ENOSYS"])
def _kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A file system, or a kernel, with the flag and without it.
    """
    if request.param != "renameat2":
        number = getattr(errno, request.param)
        monkeypatch.setattr(moves, "_renameat2", lambda *where: number)


pytestmark = pytest.mark.usefixtures("_kernel")


def test_move_between_directories(tmp_path: Path, fd: int) -> None:
    """
    The same inode under another name, and nothing under the old one.
    """
    (tmp_path / "a").write_text("1")
    (tmp_path / "sub").mkdir()
    inode = (tmp_path / "a").stat().st_ino

    moves.rename_noreplace(fd, "a", fd, "sub/b")

    assert (tmp_path / "sub" / "b").stat().st_ino == inode
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "sub" / "b").stat().st_nlink == 1


def test_taken_target_is_refused_and_nothing_moved(tmp_path: Path, fd: int) -> None:
    """
    Nothing is ever overwritten.
    """
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")

    with pytest.raises(FileExistsError):
        moves.rename_noreplace(fd, "a", fd, "b")
    assert (tmp_path / "a").read_text() == "1"
    assert (tmp_path / "b").read_text() == "2"


def test_dangling_symlink_takes_a_name_as_well(tmp_path: Path, fd: int) -> None:
    """
    It is somebody's.
    """
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").symlink_to("nowhere")

    with pytest.raises(FileExistsError):
        moves.rename_noreplace(fd, "a", fd, "b")


def test_missing_source_is_told_apart(fd: int) -> None:
    """
    The file vanished; that is no fault of the target.
    """
    with pytest.raises(FileNotFoundError):
        moves.rename_noreplace(fd, "a", fd, "b")


def test_symlink_moves_itself(tmp_path: Path, fd: int) -> None:
    """
    Not what it names.
    """
    (tmp_path / "target").write_text("1")
    (tmp_path / "a").symlink_to("target")

    moves.rename_noreplace(fd, "a", fd, "b")

    assert os.readlink(tmp_path / "b") == "target"
    assert (tmp_path / "target").exists()


@pytest.mark.parametrize("name", ["with\nnewline", os.fsdecode(b"\xff\xfe"), "ä" * 127])
def test_any_name_moves(tmp_path: Path, fd: int, name: str) -> None:
    """
    Undecodable bytes come through as they are.
    """
    path = os.path.join(os.fsencode(tmp_path), os.fsencode(name))
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    (tmp_path / "sub").mkdir()

    moves.rename_noreplace(fd, name, fd, f"sub/{name}")

    assert os.listdir(os.fsencode(tmp_path / "sub")) == [os.fsencode(name)]


def test_error_names_both_ends(fd: int) -> None:
    """
    A log line says what could not go where.
    """
    with pytest.raises(OSError, match="'a'") as caught:
        moves.rename_noreplace(fd, "a", fd, "x" * 300)
    assert caught.value.filename == "a"
    assert caught.value.filename2 == "x" * 300


def test_syncfs_of_a_live_descriptor_succeeds(fd: int) -> None:
    """
    Of a directory as well as of a file.
    """
    moves.syncfs(fd)


def test_syncfs_that_fails_is_an_error() -> None:
    """
    A flush that did not take place must not pass for one.
    """
    with pytest.raises(OSError, match="Bad file descriptor"):
        moves.syncfs(-1)
