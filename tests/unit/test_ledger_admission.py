"""
How many files the ledger takes, and the queue of those ready to run.
"""

from __future__ import annotations

import threading

import pytest

from conductor_loop.ledger.admission import Admission, Offer
from conductor_loop.metrics.live import Live
from conductor_loop.model import Arrival, FoundBy, Identity, Job, Report, Succeeded

SOME = Identity(1, 2, 3, 4, 5)


def job(number: int, attempt: int = 1) -> Job:
    return Job(
        number=number,
        id=f"s-{number}",
        name=f"{number}",
        slot=0,
        dir_fd=-1,
        relative=f"agent/0/{number}",
        attempt=attempt,
        discovered_at=1,
        claimed_at=2,
        unchanged_since=0,
    )


class Desk:
    """
    An admission with the test on every side of it.
    """

    def __init__(self, look_ahead: int = 8) -> None:
        self.live = Live(max_workers=2, command_name="porch")
        self.posted: list[Offer | Report] = []
        self.wakes = 0
        self.admission = Admission(look_ahead=look_ahead, live=self.live, post=self.posted.append)
        self.admission.on_room(self._wake)

    def _wake(self) -> None:
        self.wakes += 1

    def offer(self, *names: str) -> None:
        self.admission.offer([Arrival(name, SOME, FoundBy.EVENT, 1) for name in names])

    def claim(self, *numbers: int) -> None:
        """
        Do what the ledger does with offered files.
        """
        for number in numbers:
            self.admission.push(job(number))
        self.admission.settled([str(number) for number in numbers])


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_room_is_what_is_neither_offered_nor_queued(desk: Desk) -> None:
    """
    An offered file takes a place until it is taken by a worker.
    """
    assert desk.admission.room() == 8
    desk.offer("1", "2", "3")
    assert desk.admission.room() == 5
    desk.claim(1, 2)
    assert desk.admission.room() == 5
    desk.admission.take()
    assert desk.admission.room() == 6
    desk.admission.settled(["3"])  # vanished
    assert desk.admission.room() == 7


def test_offers_and_reports_reach_the_ledger(desk: Desk) -> None:
    """
    As they are.
    """
    desk.offer("1", "2")
    report = Report(job=job(1), verdict=Succeeded(), finished_at=1)
    desk.admission.report(report)

    offer = desk.posted[0]
    assert isinstance(offer, Offer)
    assert [arrival.name for arrival in offer.arrivals] == ["1", "2"]
    assert desk.posted[1] is report


def test_file_is_in_hand_from_its_offer_until_it_has_left_the_directory(desk: Desk) -> None:
    """
    A scan in between must not offer it again.
    """
    desk.offer("1")
    assert desk.admission.in_hand("1")
    desk.admission.settled(["1", "never offered"])

    assert not desk.admission.in_hand("1")


def test_repeated_attempts_take_no_place_from_new_files(desk: Desk) -> None:
    """
    A thousand failing files do not starve good ones.
    """
    for number in range(20):
        desk.admission.push(job(number, attempt=2))

    assert desk.admission.room() == 8
    assert desk.admission.room_again() <= 0


def test_new_files_take_no_place_from_repeated_attempts(desk: Desk) -> None:
    """
    Nor the other way round.
    """
    desk.claim(*range(8))
    assert desk.admission.room() == 0
    assert desk.admission.room_again() == 8


def test_queue_depth_counts_both(desk: Desk) -> None:
    """
    Everything that is claimed and ready to run.
    """
    desk.claim(1, 2)
    desk.admission.push(job(3, attempt=2))
    assert desk.live.snapshot().queue_depth == 3
    for _ in range(3):
        desk.admission.take()

    assert desk.live.snapshot().queue_depth == 0


def test_jobs_come_in_the_order_of_their_claims(desk: Desk) -> None:
    """
    First come, first served.
    """
    desk.claim(3, 1, 2)

    assert [desk.admission.take(), desk.admission.take(), desk.admission.take()] == [job(3), job(1), job(2)]


def test_intake_is_woken_only_when_half_is_empty(desk: Desk) -> None:
    """
    A wake-up for every single place costs more than the place is worth.
    """
    desk.offer(*map(str, range(8)))
    desk.claim(*range(8))
    assert desk.admission.room() == 0

    for _ in range(3):
        desk.admission.take()
    assert desk.wakes == 0
    desk.admission.take()
    assert desk.wakes == 1
    desk.admission.take()
    assert desk.wakes == 1


def test_intake_that_never_met_a_full_queue_is_not_woken(desk: Desk) -> None:
    """
    It did not wait for anything.
    """
    desk.offer("1")
    assert desk.admission.room() == 7
    desk.claim(1)
    desk.admission.take()

    assert desk.wakes == 0


def test_intake_is_woken_when_offered_files_turn_out_to_be_gone(desk: Desk) -> None:
    """
    No worker will take those.
    """
    desk.offer(*map(str, range(8)))
    assert desk.admission.room() == 0
    desk.admission.settled(map(str, range(8)))

    assert desk.wakes == 1
    assert desk.admission.room() == 8


@pytest.mark.parametrize("look_ahead", [1, 2, 3])
def test_small_look_ahead_wakes_as_well(look_ahead: int) -> None:
    """
    Half of one is none.
    """
    desk = Desk(look_ahead)
    desk.claim(*range(look_ahead))
    assert desk.admission.room() == 0
    for _ in range(look_ahead):
        desk.admission.take()

    assert desk.wakes == 1


def test_pause_leaves_no_room_and_its_end_wakes(desk: Desk) -> None:
    """
    What is queued is still worked off.
    """
    desk.claim(1)
    desk.admission.pause(True)
    assert desk.admission.paused()
    assert desk.admission.room() == 0
    assert desk.admission.take() == job(1)

    woken = desk.wakes
    desk.admission.pause(False)
    assert not desk.admission.paused()
    assert desk.wakes == woken + 1
    assert desk.admission.room() == 8


def test_close_ends_every_worker(desk: Desk) -> None:
    """
    Those that wait, and those that ask later; what is queued stays for the next start.
    """
    taken: list[Job | None] = []
    workers = [threading.Thread(target=lambda: taken.append(desk.admission.take())) for _ in range(4)]
    for worker in workers:
        worker.start()
    desk.admission.close()
    for worker in workers:
        worker.join(10)

    assert taken == [None] * 4
    assert desk.admission.take() is None


def test_close_keeps_back_what_is_queued(desk: Desk) -> None:
    """
    A stop does not begin new work.
    """
    desk.claim(1, 2, 3)
    desk.admission.close()

    assert [desk.admission.take() for _ in range(5)] == [None] * 5


def test_dismissed_worker_gets_no_job(desk: Desk) -> None:
    """
    As many calls as were asked for, once nothing is queued; the next one gets a job again.
    """
    desk.claim(1)
    desk.admission.dismiss(2)
    desk.claim(2)
    taken = [desk.admission.take() for _ in range(4)]

    assert [None if job is None else job.number for job in taken] == [1, None, None, 2]


def test_dismissed_after_the_end_are_told_of_the_end(desk: Desk) -> None:
    """
    Whatever comes first, nobody waits for ever.
    """
    desk.admission.dismiss(1)
    desk.admission.close()

    assert [desk.admission.take() for _ in range(5)] == [None] * 5


def test_larger_look_ahead_is_room_at_once(desk: Desk) -> None:
    """
    Intake, which waits because there was none, is woken.
    """
    desk.offer(*(str(number) for number in range(8)))
    full = desk.admission.room()
    desk.admission.resize(10)

    assert (full, desk.admission.room(), desk.wakes) == (0, 2, 1)


def test_smaller_look_ahead_leaves_what_is_queued(desk: Desk) -> None:
    """
    There is room again when enough of it is gone.
    """
    desk.offer(*(str(number) for number in range(8)))
    desk.claim(*range(8))
    desk.admission.resize(2)
    rooms = []
    for _ in range(8):
        rooms.append(desk.admission.room())
        assert desk.admission.take()

    assert rooms == [0, 0, 0, 0, 0, 0, 0, 1]
    assert desk.admission.room() == 2
