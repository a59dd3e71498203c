"""
Names and entries that nobody should put into a directory, and somebody does.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from agents import INTENT, agent
from conductor_loop import clock
from conductor_loop.model import display_name
from conservation import assert_conserved
from waiting import wait_until

ODD_NAMES = (
    "intent-.json",
    "intent-with space.json",
    "intent-new\nline.json",
    "intent-tab\tand\x1b[31mcolour.json",
    "intent-'quote\"back\\slash.json",
    "intent-$(touch pwned);`id`&|.json",
    "intent-{id}{path}%s.json",
    "intent--structured.json",
    "intent-\u00fcml\u00e4ut.json",
    "intent-u\u0308 is another one.json",
    "intent-\u202ertl\u202c\u200b.json",
    "intent-\U0001f600.json",
)
LONG_NAMES = tuple(
    name
    for size in (220, 221, 230, 244, 245, 250, 255)
    for name in (
        "intent-" + "x" * (size - 12) + ".json",
        "intent-" + "y" * (size % 2) + "\u00e9" * ((size - 12) // 2) + ".json"
        if (size - 12) % 2 == size % 2
        else "intent-z" + "\u00e9" * ((size - 13) // 2) + ".json",
    )
)
UNDECODABLE = tuple(
    os.fsdecode(raw)
    for raw in (b"intent-\xff.json", b"intent-\xc3(\n.json", b"intent-" + b"\xa9" * 243 + b".json")
)
IGNORED = (
    "intent-a.json.tmp",
    "intent-a.json.part",
    "intent-a.txt",
    "Intent-a.json",
    ".intent-a.json",
    "other.json",
)


@pytest.mark.parametrize("content", [INTENT, b"{}"], ids=["processed", "rejected"])
def test_every_name_is_filed_and_again_when_it_comes_again(tmp_path: Path, content: bytes) -> None:
    """
    Names of all kinds and lengths end with status file, row and error log; a second one does not overwrite.
    """
    names = [*ODD_NAMES, *LONG_NAMES, *UNDECODABLE]
    command = ["/bin/sh", "-c", 'test -f "$1" && test "$2" = "$CONDUCTOR_NAME"', "sh", "{path}", "{name}"]

    with agent(tmp_path, {"processor": {"command": command}}) as one:
        one.start()
        for turn in (1, 2):
            for name in names:
                one.drop(name, content)
            one.filed(turn * len(names))
        one.stop()

        rows = assert_conserved(tmp_path, names * 2)
        log = one.log_text()
    assert not list(tmp_path.rglob("pwned"))
    bad = [row for row in rows if row["kind"] == "bad_name"]
    assert sorted(row["name"] for row in bad) == sorted([*UNDECODABLE, *UNDECODABLE])
    good = [row for row in rows if row not in bad]
    assert {row["outcome"] for row in good} == {"processed" if content == INTENT else "rejected"}
    assert "\x1b" not in log


def test_what_is_no_regular_file_is_left_alone_and_counted(tmp_path: Path) -> None:
    """
    Symlinks, FIFOs, sockets and directories hold up nobody, and links are not followed (defect 24).
    """
    with agent(tmp_path) as one:
        outside = tmp_path / "outside.json"
        outside.write_bytes(INTENT)
        one.start()
        odd = _make_odd_entries(one.handoff, outside)
        one.drop("intent-good.json")
        one.filed(1)
        wait_until(lambda: b"conductor_loop_ignored_entries 5" in one.get("/metrics/prometheus")[1])

        assert all(os.path.lexists(path) for path in odd)
        assert outside.read_bytes() == INTENT
        assert one.get("/health")[0] == 200
        one.stop()
        assert_conserved(tmp_path, ["intent-good.json"], pattern="intent-g*.json")


def test_a_name_that_is_not_ours_is_never_touched(tmp_path: Path) -> None:
    """
    Half-written, hidden and other names stay, until a rename gives them one of ours.
    """
    with agent(tmp_path) as one:
        one.start()
        for name in IGNORED:
            one.drop(name)
        one.drop("intent-good.json")
        one.filed(1)

        assert {path.name for path in one.handoff.iterdir() if path.is_file()} == set(IGNORED)
        (one.handoff / "intent-a.json.part").rename(one.handoff / "intent-a.json")
        one.filed(2)
        one.stop()
        assert_conserved(tmp_path, ["intent-good.json", "intent-a.json"])


def test_hard_links_are_files_of_their_own(tmp_path: Path) -> None:
    """
    Two names of one inode are two files, and a link to a processed file is filed beside it.
    """
    with agent(tmp_path) as one:
        source = tmp_path / "source.json"
        source.write_bytes(INTENT)
        one.start()
        for name in ("intent-a.json", "intent-b.json"):
            os.link(source, one.handoff / name)
        one.filed(2)
        os.link(one.processed / "intent-a.json", one.handoff / "intent-a.json")
        one.filed(3)
        one.stop()

        rows = assert_conserved(tmp_path, ["intent-a.json", "intent-b.json", "intent-a.json"])
    assert source.read_bytes() == INTENT
    assert rows[2]["target"] != "intent-a.json"


def test_foreign_files_are_not_overwritten_and_filed_as_says_so(tmp_path: Path) -> None:
    """
    What somebody put into processed/ and failed/ stays as it was, a directory and a dangling link too.
    """
    with agent(tmp_path) as one:
        one.processed.mkdir()
        one.failed.mkdir()
        foreign = _take_names(one.handoff)
        one.start()
        good = ["intent-file.json", "intent-directory.json", "intent-link.json"]
        bad = ["intent-bad.json", "intent-log.json"]
        for name in good:
            one.drop(name)
        for name in bad:
            one.drop(name, b"{}")
        one.filed(5 + 4)  # what was there counts as well
        one.stop()

        rows = assert_conserved(tmp_path, [*good, *bad], foreign=foreign)
    assert all(row["target"] == _with_id(row, one.rows("SELECT store_id FROM meta")) for row in rows)
    assert (one.processed / "intent-file.json").read_text() == "mine"
    assert (one.failed / "intent-log.json.error.log").read_text() == "mine"
    assert not (one.processed / "nowhere").exists()


def test_a_taken_status_name_gives_way(tmp_path: Path) -> None:
    """
    Files, directories, links and FIFOs under the status file's name lead to `-2`, and none is touched.
    """
    with agent(tmp_path) as one:
        one.start()
        one.drop("intent-0.json")
        one.filed(1)
        first = one.rows()[0]["finished_at"]
        foreign = _take_status_names(one.status, first // 1_000_000)
        names = [f"intent-{kind}.json" for kind in ("file", "directory", "link", "fifo")]
        for name in names:
            one.drop(name)
        one.filed(5)
        one.stop()

        rows = assert_conserved(tmp_path, ["intent-0.json", *names], foreign=foreign)
    assert all(row["status_name"].endswith("-2.status") for row in rows[1:])


@pytest.mark.parametrize("kind", ["fifo", "hard link", "symlink"])
def test_what_lies_where_status_files_are_prepared_is_no_trap(tmp_path: Path, kind: str) -> None:
    """
    The temporary name may be taken by a FIFO without a reader or by a link to something precious.
    """
    precious = tmp_path / "precious"
    precious.write_text("mine")
    with agent(tmp_path) as one:
        one.start()
        one.drop("intent-a.json")
        one.filed(1)
        one.stop()
        (first,) = one.rows()
        store_id = json.loads((one.status / first["status_name"]).read_text())["id"].partition("-")[0]
        _set_trap(one.status / f".conductor-{store_id}-2", kind, precious)
        one.start()
        one.drop("intent-b.json")
        one.filed(2)
        one.stop()

        assert_conserved(tmp_path, ["intent-a.json", "intent-b.json"])
    assert precious.read_text() == "mine"


def test_the_terminal_shows_one_clean_line_per_file(tmp_path: Path) -> None:
    """
    Outcome, escaped name and reason; control characters of a name cannot reach the terminal.
    """
    with agent(tmp_path) as one:
        one.drop("intent-a\x1b[2J.json")
        one.drop("intent-b.json", b"[1]")
        code = one.once()
        lines = [line for line in one.log_text().splitlines() if "intent-" in line and "Z " in line]

    assert code == 1
    assert len(lines) == 2
    assert any("processed" in line and display_name("intent-a\x1b[2J.json") in line for line in lines)
    assert any("rejected" in line and "intent-b.json" in line and "invalid_value" in line for line in lines)


def _set_trap(trap: Path, kind: str, precious: Path) -> None:
    if kind == "fifo":
        os.mkfifo(trap)
    elif kind == "hard link":
        os.link(precious, trap)
    else:
        trap.symlink_to(precious)


def _make_odd_entries(handoff: Path, outside: Path) -> list[Path]:
    odd = [handoff / f"intent-{kind}.json" for kind in ("link", "dangling", "fifo", "directory", "socket")]
    odd[0].symlink_to(outside)
    odd[1].symlink_to(handoff / "nowhere")
    os.mkfifo(odd[2])
    odd[3].mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        here = os.open(handoff, os.O_PATH | os.O_DIRECTORY)
        bound.bind(f"/proc/self/fd/{here}/{odd[4].name}")
        os.close(here)
    return odd


def _take_names(handoff: Path) -> list[str]:
    processed, failed = handoff / "processed", handoff / "failed"
    (processed / "intent-file.json").write_text("mine")
    (processed / "intent-directory.json").mkdir()
    (processed / "intent-link.json").symlink_to(processed / "nowhere")
    (failed / "intent-bad.json").write_text("mine")
    (failed / "intent-log.json.error.log").write_text("mine")
    return [f"{folder.name}/{path.name}" for folder in (processed, failed) for path in folder.iterdir()]


def _with_id(row: dict[str, object], meta: list[dict[str, object]]) -> str:
    stem = str(row["name"]).removesuffix(".json")
    return f"{stem}-{meta[0]['store_id']}-{row['number']}.json"


def _take_status_names(status: Path, second: int) -> list[str]:
    taken = []
    for moment in range(second, second + 30):
        stamp = clock.compact(moment * clock.SECOND)
        paths = {
            kind: status / f"intent-{kind}.json-{stamp}.status"
            for kind in ("file", "directory", "link", "fifo")
        }
        paths["file"].write_text(json.dumps({"id": "somebody else's"}))
        paths["directory"].mkdir()
        paths["link"].symlink_to(status / "nowhere")
        os.mkfifo(paths["fifo"])
        taken += [f"status/{path.name}" for path in paths.values()]
    return taken
