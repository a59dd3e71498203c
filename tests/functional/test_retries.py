"""
Attempts that fail, and what is repeated when.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from agents import INTENT, Agent, agent
from conservation import assert_conserved
from waiting import wait_until

#: fails with the exit code that the file's `target` names, until there is a file `go`
FAIL = 'test -e "{go}" || exit "$(sed "s/.*code-\\([0-9]*\\).*/\\1/" "$1")"'

#: how often failing files ran between the first claim of a good one and the last end of one
_TURNS_MEANWHILE = """
    SELECT count(*) AS turns FROM attempts,
        (SELECT min(number) AS first, min(claimed_at) AS begin, max(finished_at) AS end FROM files WHERE name LIKE '%good%')
    WHERE file_number < first AND started_at BETWEEN begin AND end
"""


def test_only_the_listed_exit_codes_are_repeated(tmp_path: Path) -> None:
    """
    75 comes again until attempts are used up, others fail at once; every repetition is counted (defect 15).
    """
    with agent(tmp_path, _settings(tmp_path, max_attempts=3)) as one:
        one.start()
        for code in (1, 2, 74, 75, 76):
            one.drop(f"intent-{code}.json", _failing(code))
        one.filed(5)
        performance = one.get("/metrics")[1]["performance"]
        one.stop()

        rows = assert_conserved(tmp_path, [f"intent-{code}.json" for code in (1, 2, 74, 75, 76)])
    assert {row["exit_code"]: row["attempts"] for row in rows} == {1: 1, 2: 1, 74: 1, 75: 3, 76: 1}
    assert {row["kind"] for row in rows} == {"command_failed"}
    assert performance["retry_attempts_total"] == 2
    assert performance["files_failed_total"] == 5


def test_waiting_files_wait_on_after_a_restart_with_the_attempts_they_had(tmp_path: Path) -> None:
    """
    Neither the count nor the moment of the next attempt is lost.
    """
    settings = _settings(tmp_path, max_attempts=10, initial_delay="12h", max_delay="12h")
    with agent(tmp_path, settings) as one:
        one.start()
        one.drop("intent-a.json", _failing(75))
        wait_until(lambda: one.rows() and one.rows()[0]["attempts"] == 1)
        one.stop()
        before = one.rows()[0]["next_attempt_at"]
        one.start()
        assert one.rows()[0]["next_attempt_at"] == before
        assert b"conductor_loop_retry_waiting 1" in one.get("/metrics/prometheus")[1]
        one.stop()

    # With another configuration a delay that is longer than the longest is cut.
    (tmp_path / "go").touch()
    with agent(tmp_path, _settings(tmp_path)) as one:
        assert one.once(timeout=10) == 0
        rows = assert_conserved(tmp_path, ["intent-a.json"])
    assert rows[0]["attempts"] == 2


def test_too_many_waiting_files_pause_intake_until_there_are_fewer(tmp_path: Path) -> None:
    """
    `max_waiting` keeps a broken command from drawing the whole directory into work.
    """
    names = [f"intent-{number}.json" for number in range(40)]
    settings = _settings(
        tmp_path, max_waiting=10, initial_delay="200ms", max_delay="300ms", max_attempts=1000
    )
    with agent(tmp_path, {**settings, "agent": {"look_ahead": 4}}) as one:
        one.start()
        for name in names:
            one.drop(name, _failing(75))
        wait_until(lambda: "retries" in one.get("/health")[1]["details"]["paused"])
        # Beside those that wait: what runs, and what is queued for its first attempt and for another one.
        assert len(one.rows()) <= 10 + 1 + 4 + 4 + 4
        (tmp_path / "go").touch()
        one.filed(len(names))
        wait_until(lambda: one.get("/health")[1]["details"]["paused"] == {})
        one.stop()

        rows = assert_conserved(tmp_path, names)
    assert {row["outcome"] for row in rows} == {"processed"}


@pytest.mark.slow
def test_a_thousand_failing_files_do_not_starve_good_ones(tmp_path: Path) -> None:
    """
    All good files that come after them end while those wait, before each of those had even one turn more.
    """
    bad = [f"intent-bad-{number}.json" for number in range(1000)]
    good = [f"intent-good-{number}.json" for number in range(100)]
    settings = _settings(tmp_path, max_attempts=10_000, max_delay="500ms", max_waiting=5000)
    with agent(tmp_path, settings) as one:
        one.start()
        for name in bad:
            one.drop(name, _failing(75))
        wait_until(lambda: _claimed(one) == len(bad), 60, step=0.1)
        for name in good:
            one.drop(name, _failing(0))
        one.filed(len(good), timeout=60)
        assert len(one.rows("SELECT number FROM files WHERE outcome IS NULL")) == len(bad)
        (tmp_path / "go").touch()
        one.filed(len(good) + len(bad), timeout=60)
        one.stop(timeout=60)

        rows = assert_conserved(tmp_path, [*bad, *good])
        turns = one.rows(_TURNS_MEANWHILE)[0]["turns"]
    assert {row["outcome"] for row in rows} == {"processed"}
    assert {row["attempts"] for row in rows if row["name"] in good} == {1}
    assert 0 < turns < len(bad)


def _claimed(one: Agent) -> int:
    return len(one.rows("SELECT number FROM files WHERE attempts > 0"))


def _failing(code: int) -> bytes:
    return INTENT.replace(b"cell", b"code-%d" % code)


def _settings(root: Path, **retry: object) -> dict[str, dict[str, object]]:
    command = ["/bin/sh", "-c", FAIL.replace("{go}", str(root / "go")), "sh", "{path}"]
    return {"processor": {"command": command}, "retry": retry}
