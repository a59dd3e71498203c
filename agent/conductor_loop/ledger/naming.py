"""
Names of filed files, status files and error logs. Pure.
"""

from __future__ import annotations

import os

from conductor_loop import clock

NAME_MAX = 255  #: bytes, the limit of every common file system
_WHOLE = 220  #: names up to this many bytes are never cut; leaves room for `-YYYYMMDD-HHMMSS-NN.status`
ERROR_LOG = ".error.log"


def cut(name: str, limit: int) -> str:
    """
    Return the longest beginning of `name` that has at most `limit` bytes and ends with a whole character.
    """
    raw = os.fsencode(name)
    if len(raw) <= limit:
        return name
    while limit and raw[limit] & 0xC0 == 0x80:  # noqa: PLR2004 - a continuation byte of UTF-8
        limit -= 1
    return os.fsdecode(raw[:limit])


def status_name(name: str, id: str, finished_at: int, turn: int = 1) -> str:
    """
    Return `<name>-<YYYYMMDD-HHMMSS>.status`; from the second `turn` on with `-2`, `-3` before `.status`.

    A name over 220 bytes is cut and gets the file's id.
    """
    if len(os.fsencode(name)) > _WHOLE:
        name = f"{cut(name, _WHOLE - len(id) - 1)}-{id}"
    again = "" if turn == 1 else f"-{turn}"
    return f"{name}-{clock.compact(finished_at)}{again}.status"


def with_id(name: str, id: str) -> str:
    """
    Return `<stem>-<id><ext>`, cut in the stem where it would be too long for the file system or its error log.
    """
    stem, ext = os.path.splitext(name)
    ext = cut(ext, 32)
    room = NAME_MAX - len(ERROR_LOG) - len(os.fsencode(ext)) - len(id) - 1
    return f"{cut(stem, room)}-{id}{ext}"


def error_log_name(target: str, id: str) -> str:
    """
    Return the name of the error log beside `failed/<target>`.
    """
    if len(os.fsencode(target)) + len(ERROR_LOG) <= NAME_MAX:
        return target + ERROR_LOG
    return with_id(target, id) + ERROR_LOG
