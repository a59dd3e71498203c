"""
Looking at the places of files, for `doctor`.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from conductor_loop.ledger.places import Places
from conductor_loop.ledger.sight import Sight
from conductor_loop.ledger.survey import survey
from ledgers import paths_below
from surroundings import as_nobody
from untouched import picture


def test_nothing_is_made(tmp_path: Path) -> None:
    """
    Where no agent ever was, nothing is found.
    """
    with closing(Sight(paths_below(tmp_path), agent="agent")) as sight:
        facts = survey(sight, [], {}, "0123456789")

    assert (facts.rows, facts.strays) == ([], [])
    assert os.listdir(tmp_path) == []


def test_it_looks_beside_the_owner_and_touches_nothing(tmp_path: Path) -> None:
    """
    No lock is taken, no probe is moved.
    """
    with closing(Places(paths_below(tmp_path), agent="agent", owner="the agent")) as places:
        slot = places.slots.take()
        (tmp_path / "handoff" / "work" / "agent" / str(slot) / "intent-a.json").write_text("{}")
        (tmp_path / "handoff" / "work" / "README").touch()
        before = picture(tmp_path)

        with closing(Sight(places.paths, agent="agent")) as sight:
            facts = survey(sight, [], {}, "0123456789")

        assert [stray.relative for stray in facts.strays] == ["agent/0/intent-a.json"]
        assert picture(tmp_path) == before


@pytest.mark.root
@pytest.mark.parametrize("closed", ["handoff", "handoff/work", "handoff/work/agent", "handoff/work/agent/0"])
def test_what_cannot_be_looked_into_is_an_error(tmp_path: Path, closed: str) -> None:
    """
    A file that cannot be seen must not be taken for one that is not there.
    """
    with closing(Places(paths_below(tmp_path), agent="agent", owner="the agent")) as places:
        places.slots.take()
    for folder in (tmp_path / "handoff").rglob("*"):
        folder.chmod(0o755)
    (tmp_path / "handoff").chmod(0o755)
    (tmp_path / closed).chmod(0o700)

    with as_nobody(tmp_path), pytest.raises(PermissionError):
        Sight(paths_below(tmp_path), agent="agent")
