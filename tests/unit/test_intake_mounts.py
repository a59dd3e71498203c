"""
Reading what is mounted where.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from conductor_loop.intake.mounts import fstype_in, fstype_of, is_network

MOUNTINFO = rb"""21 1 253:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
22 21 0:20 / /proc rw,nosuid - proc proc rw
30 21 0:45 / /srv/drop rw,relatime shared:7 master:3 - nfs4 filer:/x rw,vers=4.2
31 30 253:2 / /srv/drop/local rw - xfs /dev/vdb rw
32 21 0:50 / /mnt/with\040space rw - fuse.sshfs user@host: rw
33 21 0:51 / /stacked rw - cifs //a/b rw
34 33 0:52 / /stacked rw - tmpfs tmpfs rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "fstype"),
    [
        ("/", "ext4"),
        ("/srv", "ext4"),
        ("/srv/drop", "nfs4"),
        ("/srv/drop/a/b", "nfs4"),
        ("/srv/dropped", "ext4"),
        ("/srv/drop/local/x", "xfs"),
        ("/mnt/with space/x", "fuse.sshfs"),
        ("/stacked/x", "tmpfs"),
    ],
)
def test_longest_mount_point_decides(path: str, fstype: str) -> None:
    """
    Whole path components count, escapes are undone, and of two mounts on one point the later.
    """
    assert fstype_in(MOUNTINFO, path) == fstype


def test_unreadable_text_gives_no_type() -> None:
    """
    Then inotify is tried.
    """
    assert fstype_in(b"garbage\n", "/x") == ""


@pytest.mark.parametrize(
    "fstype", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse.glusterfs", "ceph"]
)
def test_network_types(fstype: str) -> None:
    """
    Other machines write there without our kernel knowing.
    """
    assert is_network(fstype)


@pytest.mark.parametrize("fstype", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "fuseblk", ""])
def test_local_types(fstype: str) -> None:
    """
    All writes go through our kernel.
    """
    assert not is_network(fstype)


def test_this_machine_has_a_type_for_every_path(tmp_path: Path) -> None:
    """
    The real file is read, symlinks are followed.
    """
    (tmp_path / "link").symlink_to("/proc")

    assert fstype_of(tmp_path / "link") == "proc"
    assert fstype_of(tmp_path) not in {"", "proc"}
