"""
What consumers read beside a filed file: the status file and, for what did not succeed, the error log.
"""

from __future__ import annotations

import json
import os
from json.encoder import encode_basestring_ascii as quoted

from conductor_loop import clock
from conductor_loop.ledger import moves
from conductor_loop.ledger.entry import Ending
from conductor_loop.model import Author, Outcome, display_name

_ID_LINE = "Id:        "  #: of an error log, before the id
_LONGEST = 1 << 20  #: bytes that are looked at for an id
TEMPORARY = ".conductor-"  #: begins the names of files that are being written


def document(name: str, id: str, ending: Ending, author: Author) -> bytes:
    """
    Return the status file's JSON. Written by hand, for `json.dumps(indent=2)` costs more than the file's whole filing.
    """
    fields = (
        ("intent_file", quoted(display_name(name))),
        ("status", '"success"' if ending.outcome is Outcome.PROCESSED else '"failed"'),
        ("message", quoted(ending.message)),
        ("timestamp", quoted(clock.rfc3339(ending.finished_at))),
        ("processed_by", quoted(author.processed_by)),
        ("mode", quoted(author.mode)),
        ("porch_path", quoted(author.porch_path)),
        ("id", quoted(id)),
        ("outcome", quoted(ending.outcome)),
        ("kind", "null" if ending.kind is None else quoted(ending.kind)),
        ("attempts", str(ending.attempts)),
        ("exit_code", "null" if ending.exit_code is None else str(ending.exit_code)),
        ("duration_seconds", "null" if ending.duration is None else f"{ending.duration:.6f}"),
        ("sha256", quoted(ending.sha256) if ending.sha256 else "null"),
        ("filed_as", quoted(display_name(ending.target))),
    )
    return ("{\n" + ",\n".join(f'  "{key}": {value}' for key, value in fields) + "\n}\n").encode()


def error_log(name: str, id: str, ending: Ending) -> bytes:
    """
    Return the text of the error log: what happened, for a person.
    """
    exit_code = "-" if ending.exit_code is None else str(ending.exit_code)
    head = (
        f"File:      {display_name(name)}\n"
        f"{_ID_LINE}{id}\n"
        f"Failed at: {clock.rfc3339(ending.finished_at)}\n"
        f"Kind:      {ending.kind}\n"
        f"Error:     {display_name(ending.message)}\n"
        f"Exit code: {exit_code}\n"
        f"Attempts:  {ending.attempts}\n"
        "\nOutput:\n"
    )
    return head.encode() + (ending.output or b"(none)\n")


def write(dir_fd: int, name: str, data: bytes, id: str) -> None:
    """
    Write a file about the file `id` under `name` at once and whole.

    Raises:
        FileExistsError: if the name is taken; nothing was changed.
        OSError: if it could not be written.
    """
    temporary = _write_temporary(dir_fd, data, id)
    try:
        moves.rename_noreplace(dir_fd, temporary, dir_fd, name)
    except FileExistsError:
        os.unlink(temporary, dir_fd=dir_fd)
        raise


def replace(dir_fd: int, name: str, data: bytes, id: str) -> None:
    """
    Write a file under `name` at once and whole, in place of a broken one of ours.
    """
    os.replace(_write_temporary(dir_fd, data, id), name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)


def read_id(dir_fd: int, name: str) -> str | None:
    """
    Return the file id inside a status file; None for one that is missing, broken or not ours.
    """
    try:
        found = json.loads(_read(dir_fd, name))
    except (ValueError, RecursionError):
        return None
    value = found.get("id") if isinstance(found, dict) else None
    return value if isinstance(value, str) else None


def is_error_log_of(dir_fd: int, name: str, id: str) -> bool:
    """
    Tell whether a file is the error log of the file with this id.
    """
    return error_log_id(dir_fd, name) == id


def error_log_id(dir_fd: int, name: str) -> str | None:
    """
    Return the file id inside an error log; None for one that is missing or not ours.
    """
    lines = _read(dir_fd, name).split(b"\n", 2)
    if len(lines) < 2 or not lines[1].startswith(_ID_LINE.encode()):  # noqa: PLR2004 - its id is on the second line
        return None
    return lines[1].removeprefix(_ID_LINE.encode()).decode(errors="replace")


def _read(dir_fd: int, name: str) -> bytes:
    """
    Return the content of a file as long as ours are, nothing for what cannot be read.
    """
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    except OSError:
        return b""
    try:
        return os.read(fd, _LONGEST)
    except OSError:  # a directory can be opened and not read
        return b""
    finally:
        os.close(fd)


def _write_temporary(dir_fd: int, data: bytes, id: str) -> str:
    # A name that no other agent uses; one that a crash left over is written again by the recovery of its file.
    name = f"{TEMPORARY}{id}"
    fd = _create(dir_fd, name)
    try:
        written = os.write(fd, data)
        while written < len(data):
            written += os.write(fd, data[written:])
    finally:
        os.close(fd)
    return name


def _create(dir_fd: int, name: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(name, flags, 0o640, dir_fd=dir_fd)
    except FileExistsError:
        # A crash left it over. Or it is somebody's FIFO or link, which we must not wait on or write to.
        os.unlink(name, dir_fd=dir_fd)
        return os.open(name, flags, 0o640, dir_fd=dir_fd)
