"""
Which names are taken.
"""

from __future__ import annotations

import os

import pytest

from conductor_loop.intake.names import NameFilter


@pytest.mark.parametrize("name", ["intent-1.json", "intent-.json", "intent-a b.json", "intent-\n.json"])
def test_matching_name(name: str) -> None:
    """
    The pattern is a shell's.
    """
    assert NameFilter("intent-*.json").accepts(name)


@pytest.mark.parametrize("name", ["Intent-1.json", "intent-1.JSON", "xintent-1.json", "intent-1.json\n", ""])
def test_other_name(name: str) -> None:
    """
    The whole name must match, to the case.
    """
    assert not NameFilter("intent-*.json").accepts(name)


@pytest.mark.parametrize(
    "name",
    [".x", "x.tmp", "x.part", "x.partial", "x.filepart", "x.crdownload", "x~", "~x", "x.swp", "#x#", "."],
)
def test_unfinished_name_is_never_taken(name: str) -> None:
    """
    Not even by `*`: producers write to these and rename.
    """
    assert not NameFilter("*").accepts(name)


def test_undecodable_name_matches() -> None:
    """
    It is rejected later, with a status file, rather than lie about for ever.
    """
    assert NameFilter("*.json").accepts(os.fsdecode(b"\xff.json"))


def test_further_names_can_be_ignored() -> None:
    """
    The agent's own directories in the handoff directory are nobody's mistake.
    """
    names = NameFilter("*", ignore=("processed", "failed"))

    assert not names.accepts("processed")
    assert not names.accepts("failed")
    assert names.accepts("status")
