"""
Status files and error logs, as their readers find them.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor_loop.ledger import moves, status
from conductor_loop.ledger.entry import Ending
from conductor_loop.model import Author, Kind, Outcome, display_name

MOMENT = 1_795_000_000_987_654  # 2026-11-18T11:06:40Z
AUTHOR = Author(processed_by="conductor-loop", mode="direct", porch_path="/usr/bin/porch")
KEYS = [
    *("intent_file", "status", "message", "timestamp", "processed_by", "mode", "porch_path"),
    *("id", "outcome", "kind", "attempts", "exit_code", "duration_seconds", "sha256", "filed_as"),
]


def ending(**given: Any) -> Ending:
    values: dict[str, Any] = {
        "outcome": Outcome.PROCESSED,
        "kind": None,
        "message": "Processed in 250ms",
        "finished_at": MOMENT,
        "attempts": 1,
        "exit_code": 0,
        "duration": 0.25,
        "sha256": "ab" * 32,
        "target": "intent-a.json",
        "status_name": "intent-a.json.status",
    }
    return Ending(**values | given)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield opened
    os.close(opened)


def test_document_of_a_processed_file() -> None:
    """
    Every key of the contract, in its order.
    """
    found = json.loads(status.document("intent-a.json", "s-1", ending(), AUTHOR))

    assert list(found) == KEYS
    assert found == {
        "intent_file": "intent-a.json",
        "status": "success",
        "message": "Processed in 250ms",
        "timestamp": "2026-11-18T11:06:40Z",
        "processed_by": "conductor-loop",
        "mode": "direct",
        "porch_path": "/usr/bin/porch",
        "id": "s-1",
        "outcome": "processed",
        "kind": None,
        "attempts": 1,
        "exit_code": 0,
        "duration_seconds": 0.25,
        "sha256": "ab" * 32,
        "filed_as": "intent-a.json",
    }


def test_document_of_a_file_that_never_ran() -> None:
    """
    What there is not is null, not 0.
    """
    rejected = ending(
        outcome=Outcome.REJECTED,
        kind=Kind.INVALID_JSON,
        attempts=0,
        exit_code=None,
        duration=None,
        sha256="",
    )
    found = json.loads(status.document("intent-a.json", "s-1", rejected, AUTHOR))

    assert list(found) == KEYS
    assert (found["status"], found["outcome"], found["kind"]) == ("failed", "rejected", "invalid_json")
    assert [found[key] for key in ("attempts", "exit_code", "duration_seconds", "sha256")] == [
        0,
        None,
        None,
        None,
    ]


anything = st.text() | st.binary(max_size=60).map(os.fsdecode)


@given(name=anything, message=st.text(), target=anything, mode=st.text(), exit_code=st.none() | st.integers())
def test_document_takes_odd_strings(
    name: str, message: str, target: str, mode: str, exit_code: int | None
) -> None:
    """
    It is written by hand, so whatever stands in it: it parses, and says the same.
    """
    author = Author(processed_by=mode, mode=mode, porch_path=mode)
    odd = ending(message=message, target=target, exit_code=exit_code, kind=Kind.TIMEOUT)
    found = json.loads(status.document(name, "s-1", odd, author))

    assert list(found) == KEYS
    assert (found["intent_file"], found["filed_as"]) == (display_name(name), display_name(target))
    assert (found["message"], found["mode"], found["exit_code"]) == (message, mode, exit_code)


def test_document_agrees_with_the_json_module() -> None:
    """
    Byte for byte: readers that go by lines find what `json.dumps` would have written.
    """
    data = status.document("intent-ä.json", "s-1", ending(duration=0.123456), AUTHOR)

    assert data.decode("ascii") == json.dumps(json.loads(data), indent=2) + "\n"


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 0.1, 59.999999, 1e7])
def test_durations_are_plain_numbers(seconds: float) -> None:
    """
    To the microsecond, without an exponent.
    """
    text = status.document("a", "s-1", ending(duration=seconds), AUTHOR).decode()

    assert f'"duration_seconds": {seconds:.6f},\n' in text


def test_error_log_says_what_happened() -> None:
    """
    For a person, with the output as it was.
    """
    failed = ending(
        outcome=Outcome.FAILED,
        kind=Kind.COMMAND_FAILED,
        message="exit code 3",
        attempts=4,
        exit_code=3,
        output=b"line 1\n\xff\xfe\n",
    )
    text = status.error_log("intent-\n.json", "s-1", failed)

    assert text == (
        b"File:      intent-\\n.json\n"
        b"Id:        s-1\n"
        b"Failed at: 2026-11-18T11:06:40Z\n"
        b"Kind:      command_failed\n"
        b"Error:     exit code 3\n"
        b"Exit code: 3\n"
        b"Attempts:  4\n"
        b"\nOutput:\n"
        b"line 1\n\xff\xfe\n"
    )


def test_error_log_without_a_run() -> None:
    """
    It says that there was none.
    """
    rejected = ending(outcome=Outcome.REJECTED, kind=Kind.EMPTY, message="empty", exit_code=None)

    assert b"Exit code: -\n" in status.error_log("a", "s-1", rejected)
    assert status.error_log("a", "s-1", rejected).endswith(b"\nOutput:\n(none)\n")


def test_write_makes_a_whole_file_and_leaves_nothing_beside_it(tmp_path: Path, fd: int) -> None:
    """
    A name, its content, no temporary file.
    """
    status.write(fd, "a.status", b"x" * 100_000, "s-77")

    assert (tmp_path / "a.status").read_bytes() == b"x" * 100_000
    assert os.listdir(tmp_path) == ["a.status"]


def test_write_never_shows_half_a_file(tmp_path: Path, fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    At the moment at which the name appears everything is in it.
    """
    seen = []
    rename = moves.rename_noreplace

    def watched(source_fd: int, source: str, target_fd: int, target: str) -> None:
        seen.append((os.path.exists(tmp_path / target), (tmp_path / source).read_bytes()))
        rename(source_fd, source, target_fd, target)

    monkeypatch.setattr(moves, "rename_noreplace", watched)
    status.write(fd, "a.status", b"whole", "s-77")

    assert seen == [(False, b"whole")]


def test_write_refuses_a_taken_name(tmp_path: Path, fd: int) -> None:
    """
    Nothing is overwritten, nothing left over.
    """
    (tmp_path / "a.status").write_text("theirs")

    with pytest.raises(FileExistsError):
        status.write(fd, "a.status", b"ours", "s-77")
    assert (tmp_path / "a.status").read_text() == "theirs"
    assert os.listdir(tmp_path) == ["a.status"]


def test_replace_takes_the_place_of_a_broken_one(tmp_path: Path, fd: int) -> None:
    """
    At once and whole.
    """
    (tmp_path / "a.status").write_text('{"id": "s-')
    status.replace(fd, "a.status", b"whole", "s-77")

    assert (tmp_path / "a.status").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["a.status"]


def test_leftover_of_a_crash_is_in_nobodys_way(tmp_path: Path, fd: int) -> None:
    """
    However long it was.
    """
    (tmp_path / f"{status.TEMPORARY}s-77").write_bytes(b"y" * 1000)
    status.write(fd, "a.status", b"ours", "s-77")

    assert (tmp_path / "a.status").read_bytes() == b"ours"


def test_leftover_that_is_a_second_name_is_not_written_into(tmp_path: Path, fd: int) -> None:
    """
    Where moves are link and unlink, a crash in between leaves the temporary name on a status file that is done.
    """
    status.write(fd, "a.status", b"first", "s-77")
    os.link(tmp_path / "a.status", tmp_path / f"{status.TEMPORARY}s-77")
    status.write(fd, "b.status", b"second", "s-77")

    assert (tmp_path / "a.status").read_bytes() == b"first"
    assert (tmp_path / "b.status").read_bytes() == b"second"


@pytest.mark.parametrize("kind", ["fifo", "symlink"])
def test_odd_things_under_the_temporary_name_do_not_block(tmp_path: Path, fd: int, kind: str) -> None:
    """
    The one thread that files must not stand still, nor write elsewhere.
    """
    temporary = tmp_path / f"{status.TEMPORARY}s-77"
    if kind == "fifo":
        os.mkfifo(temporary)
    else:
        temporary.symlink_to("elsewhere")
    done = threading.Thread(target=status.write, args=(fd, "a.status", b"ours", "s-77"), daemon=True)
    done.start()
    done.join(5)
    if done.is_alive():  # let it go, so that the test fails and does not hang
        os.close(os.open(temporary, os.O_RDONLY | os.O_NONBLOCK))

    assert (tmp_path / "a.status").read_bytes() == b"ours"
    assert not (tmp_path / "elsewhere").exists()


def test_read_id_of_our_own(fd: int) -> None:
    """
    The id that was written.
    """
    status.write(fd, "a.status", status.document("a", "s-77", ending(), AUTHOR), "s-77")

    assert status.read_id(fd, "a.status") == "s-77"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"id": "s-1"',
        b"no json",
        b"\xff\xfe\x00",
        b"\0" * 400,
        b"[1]",
        b'"s-1"',
        b"7",
        b"{}",
        b'{"id": 7}',
        b'{"id": null}',
        b"[" * 500_000,
        b'{"id": "s-1"' + b" " * (1 << 20) + b"}",
    ],
    ids=lambda content: repr(content[:12]),
)
def test_read_id_of_what_is_not_ours(tmp_path: Path, fd: int, content: bytes) -> None:
    """
    Truncated, of another program, or made to hurt: no id, no error.
    """
    (tmp_path / "a.status").write_bytes(content)

    assert status.read_id(fd, "a.status") is None


def test_read_id_of_odd_entries(tmp_path: Path, fd: int) -> None:
    """
    Missing, a directory, a FIFO, a symlink: no id, no waiting, and no descriptor left open.
    """
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "real").write_text('{"id": "s-1"}')
    (tmp_path / "link").symlink_to("real")

    assert status.read_id(fd, "missing") is None
    assert status.read_id(fd, "directory") is None
    assert status.read_id(fd, "fifo") is None
    assert status.read_id(fd, "link") is None


def test_read_id_of_a_fifo_with_a_writer_does_not_wait(tmp_path: Path, fd: int) -> None:
    """
    Somebody holds it open and writes nothing.
    """
    os.mkfifo(tmp_path / "fifo")
    writer = os.open(tmp_path / "fifo", os.O_RDWR | os.O_NONBLOCK)
    try:
        assert status.read_id(fd, "fifo") is None
    finally:
        os.close(writer)
