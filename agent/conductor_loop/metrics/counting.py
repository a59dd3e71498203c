"""
The durable counters: which ones a file's end changes, and how they are named in the store's `totals`.

A key is (metric, label). The ledger commits the values and hands the same ones to `Live.publish`.
"""

from __future__ import annotations

from collections.abc import MutableMapping

from conductor_loop import clock
from conductor_loop.metrics import buckets
from conductor_loop.model import Finished, Outcome

Key = tuple[str, str]

RETRIES: Key = ("retries", "")  #: attempts that are to be repeated
TIMEOUTS: Key = ("timeouts", "")  #: attempts ended by their time-out
STATUS_FILES: Key = ("status_files", "")
#: All processing, in microseconds. Not the histogram's sum, which would begin anew with new buckets.
DURATION: Key = ("duration_us", "")
PROCESSING_SUM: Key = ("processing_us", "")
WAIT_SUM: Key = ("wait_us", "")


def count(totals: MutableMapping[Key, int], finished: Finished) -> set[Key]:
    """
    Add one file's end to `totals`; return the keys that changed.

    What only the ledger knows (retries, time-outs, status files, discoveries) is counted there.
    """
    changes = {outcome_key(finished.outcome, finished.kind or ""): 1}
    if ran(finished) and finished.duration is not None:
        micros = _micros(finished.duration)
        changes[DURATION] = changes[PROCESSING_SUM] = micros
        changes[bucket_key("processing", buckets.index(finished.duration))] = 1
    if ran(finished) and finished.wait is not None:
        changes[WAIT_SUM] = _micros(finished.wait)
        changes[bucket_key("wait", buckets.index(finished.wait))] = 1
    for key, amount in changes.items():
        totals[key] = totals.get(key, 0) + amount
    return set(changes)


def ran(finished: Finished) -> bool:
    """
    Tell whether a file's times belong to the statistics of run and waiting times.
    """
    return finished.outcome in {Outcome.PROCESSED, Outcome.FAILED}


def outcome_key(outcome: str, kind: str) -> Key:
    """
    Return the key that counts files with this end; `kind` is "" for processed files.
    """
    return ("outcomes", f"{outcome}/{kind}")


def discovered_key(by: str) -> Key:
    """
    Return the key that counts files brought to notice by `by`.
    """
    return ("discovered", by)


def bucket_key(histogram: str, index: int) -> Key:
    """
    Return the key of one bucket, not cumulative, of the histogram "processing" or "wait".
    """
    return (f"{histogram}_bucket", str(index))


def _micros(seconds: float) -> int:
    # A wait is a difference of wall clock moments: it can come out negative when the clock steps back.
    return max(0, round(seconds * clock.SECOND))
