"""
The user that an agent runs as, and what the modes of files let that user do.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class User:
    """
    A user of this machine.
    """

    uid: int
    gids: frozenset[int]
    name: str

    @classmethod
    def of(cls, uid: int) -> User:
        """
        Return the user with this number.
        """
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return cls(uid, frozenset(), f"uid {uid}")
        return cls(uid, frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid)), entry.pw_name)

    @property
    def is_us(self) -> bool:
        return self.uid == os.geteuid()

    def may(self, path: Path, wanted: int) -> bool:
        """
        Tell whether the user may do something with what is at `path`; of another user by the modes alone.

        Args:
            wanted: of `os.R_OK`, `os.W_OK` and `os.X_OK`.

        Raises:
            OSError: if it cannot be looked at.
        """
        if self.is_us:
            return os.access(path, wanted, effective_ids=True)
        if wanted & os.W_OK and os.statvfs(path).f_flag & os.ST_RDONLY:
            return False
        above = path.resolve().parents
        return all(self._allowed(folder, os.X_OK) for folder in above) and self._allowed(path, wanted)

    def _allowed(self, path: Path, wanted: int) -> bool:
        found = path.stat()
        if self.uid == 0:
            return stat.S_ISDIR(found.st_mode) or not wanted & os.X_OK or bool(found.st_mode & 0o111)
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid in self.gids else 0
        return (found.st_mode >> shift) & wanted == wanted


def agent_user(pid: int | None, state_dir: Path) -> User:
    """
    Return who the agent runs as: the running process's user, else the owner of the state directory, else we.
    """
    for path in ([Path(f"/proc/{pid}")] if pid else []) + [state_dir]:
        try:
            return User.of(path.stat().st_uid)
        except OSError:
            continue
    return User.of(os.geteuid())
