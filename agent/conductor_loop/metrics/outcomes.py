"""
Outcomes by kind, as the renderings show them: always the same series, whatever has happened so far.
"""

from __future__ import annotations

from collections.abc import Mapping

from conductor_loop.metrics.snapshot import Snapshot
from conductor_loop.model import Kind, Outcome

OTHER = "other"  #: kinds that this program does not know: a newer one wrote the store before
_FAILED = (Kind.COMMAND_FAILED, Kind.TIMEOUT, Kind.SIGNAL, Kind.HANDLER_ERROR, Kind.POISON)
_REJECTED = tuple(kind for kind in Kind if kind not in {*_FAILED, Kind.VANISHED})
KINDS: Mapping[Outcome, tuple[str, ...]] = {
    Outcome.PROCESSED: ("",),
    Outcome.FAILED: (*_FAILED, OTHER),
    Outcome.REJECTED: (*_REJECTED, OTHER),
    Outcome.VANISHED: (Kind.VANISHED, OTHER),
}


def by_kind(snapshot: Snapshot) -> dict[tuple[Outcome, str], int]:
    """
    Return the number of files for every outcome and kind that goes with it, zeros included, in a fixed order.
    """
    counts = {(outcome, kind): 0 for outcome, kinds in KINDS.items() for kind in kinds}
    for outcome in Outcome:
        for kind, value in snapshot.ended(outcome).items():
            place = (outcome, kind) if (outcome, kind) in counts else (outcome, OTHER)
            counts[place] = counts.get(place, 0) + value
    return counts


def by_phrase(snapshot: Snapshot, *outcomes: Outcome) -> dict[str, int]:
    """
    Return how many files ended so, by the words that consumers of `/metrics` know; kinds that occurred only.
    """
    counts: dict[str, int] = {}
    for (outcome, kind), value in by_kind(snapshot).items():
        if value and outcome in outcomes:
            phrase = OTHER if kind == OTHER else Kind(kind).phrase(snapshot.command_name)
            counts[phrase] = counts.get(phrase, 0) + value
    return counts
