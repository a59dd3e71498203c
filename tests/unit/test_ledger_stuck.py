"""
When files that cannot be moved pause intake.
"""

from __future__ import annotations

import errno
from typing import cast

from conductor_loop.ledger.admission import Admission
from conductor_loop.ledger.entry import Entry
from conductor_loop.ledger.pauses import Pauses
from conductor_loop.ledger.places import Places
from conductor_loop.ledger.stuck import Stuck
from conductor_loop.metrics.live import Live
from conductor_loop.model import Identity, PauseReason


def entry(number: int) -> Entry:
    return Entry(
        number=number,
        id=f"s-{number}",
        name=f"{number}",
        places=cast("Places", None),
        agent="agent",
        slot=number,
        identity=Identity(1, 2, 3, 4, 5),
        discovered_at=1,
        claimed_at=2,
    )


def test_pause_follows_the_number_of_stuck_files_that_is_allowed() -> None:
    """
    It ends at once when many more are, and comes with the next try when fewer are.
    """
    live = Live(max_workers=1, command_name="porch")
    admission = Admission(look_ahead=8, live=live, post=lambda message: None)
    pauses = Pauses(admission=admission, live=live)
    stuck = Stuck(live=live, pauses=pauses, most=2)
    full = OSError(errno.ENOSPC, "No space left on device")
    standing = []
    for number in range(2):
        stuck.add(entry(number), "file", full)
    standing.append(PauseReason.HANDOFF in pauses)
    stuck.resize(5)
    standing.append(PauseReason.HANDOFF in pauses)
    stuck.resize(2)
    stuck.add(entry(1), "file", full)
    standing.append(PauseReason.HANDOFF in pauses)

    assert standing == [True, False, True]
    assert len(stuck) == 2
