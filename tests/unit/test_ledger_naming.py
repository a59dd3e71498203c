"""
Names of filed files, whatever bytes producers put into theirs.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor_loop.ledger import naming
from conductor_loop.model import is_utf8

MOMENT = 1_795_000_000_000_000  # 2026-11-18T11:06:40Z
ids = st.builds("{}-{}".format, st.from_regex(r"[0-9a-f]{10}", fullmatch=True), st.integers(1, 2**63 - 1))
raw_names = st.binary(min_size=1, max_size=255).filter(lambda raw: b"/" not in raw and b"\0" not in raw)
texts = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: len(text.encode()) <= 255
)
#: around the limits, where hypothesis seldom goes by itself
long_texts = st.builds(
    lambda text, fill, size, ext: cut_to(fill * size, 255 - len((text + ext).encode())) + text + ext,
    st.text("aä€😀.", max_size=8),
    st.sampled_from("aä€😀"),
    st.integers(40, 255),
    st.sampled_from(["", ".json", ".jsön", "." + "x" * 60]),
)
names = st.one_of(raw_names.map(os.fsdecode), texts, long_texts)


def cut_to(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")


def size(name: str) -> int:
    return len(os.fsencode(name))


@given(name=names, id=ids, turn=st.integers(1, 99))
def test_every_name_made_fits_and_stays_whole(name: str, id: str, turn: int) -> None:
    """
    At most 255 bytes, and what was valid UTF-8 stays so: no character is cut in two.
    """
    target = naming.with_id(name, id)
    made = [
        naming.status_name(name, id, MOMENT, turn),
        target,
        naming.error_log_name(name, id),
        naming.error_log_name(target, id),
    ]

    assert max(map(size, made)) <= naming.NAME_MAX
    assert not any("/" in each or "\0" in each or each in {".", ".."} for each in made)
    if is_utf8(name):
        assert all(is_utf8(each) for each in made)


@given(name=names, id=ids)
def test_names_up_to_220_bytes_are_never_cut(name: str, id: str) -> None:
    """
    Consumers look for the whole file name in the status file's.
    """
    if size(name) <= 220:
        assert naming.status_name(name, id, MOMENT).startswith(f"{name}-2026")
        assert naming.error_log_name(name, id) == f"{name}.error.log"
    else:
        assert f"-{id}-2026" in naming.status_name(name, id, MOMENT)


@given(name=names, limit=st.integers(0, 255))
def test_cut_is_the_longest_whole_beginning(name: str, limit: int) -> None:
    """
    Cutting twice is the same as once, and no more than one character is given up to keep it whole.
    """
    short = naming.cut(name, limit)

    assert os.fsencode(name).startswith(os.fsencode(short))
    assert size(short) <= limit
    assert naming.cut(short, limit) == short
    if is_utf8(name) and size(name) > limit:
        assert size(short) > limit - 4


@given(name=names, one=ids, other=ids)
def test_different_ids_make_different_names(name: str, one: str, other: str) -> None:
    """
    The id is never what is cut away.
    """
    assert (naming.with_id(name, one) == naming.with_id(name, other)) == (one == other)
    assert one in naming.with_id(name, one)


def test_names_follow_the_contract() -> None:
    """
    As consumers know them.
    """
    assert naming.status_name("intent-a.json", "s-7", MOMENT) == "intent-a.json-20261118-110640.status"
    assert naming.status_name("intent-a.json", "s-7", MOMENT, 3) == "intent-a.json-20261118-110640-3.status"
    assert naming.with_id("intent-a.json", "s-7") == "intent-a-s-7.json"
    assert naming.with_id("intent", "s-7") == "intent-s-7"
    assert naming.with_id(".hidden", "s-7") == ".hidden-s-7"
    assert naming.error_log_name("intent-a.json", "s-7") == "intent-a.json.error.log"


@pytest.mark.parametrize("length", [219, 220, 221, 230, 245, 246, 250, 255])
def test_long_names_keep_their_extension_where_they_get_an_id(length: int) -> None:
    """
    What is cut is the stem.
    """
    name = "x" * (length - 5) + ".json"
    target = naming.with_id(name, "0123456789-1")

    assert target.endswith("x-0123456789-1.json")
    assert size(naming.error_log_name(target, "0123456789-1")) <= 255
    assert naming.error_log_name(name, "0123456789-1").endswith(".error.log")
    assert ("-0123456789-1-2026" in naming.status_name(name, "0123456789-1", MOMENT)) == (length > 220)
