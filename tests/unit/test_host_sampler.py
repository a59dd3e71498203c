"""
The agent's own resources.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from conductor_loop import clock
from conductor_loop.host.sampler import Sampler
from conductor_loop.model import Sample
from conductor_loop.runtime.deadline import Deadline
from shortage import no_descriptor_left
from waiting import wait_until


def make(samples: list[Sample], interval: float = 60.0, *, paths: tuple[Path, ...] = ()) -> Sampler:
    """
    Return a sampler that appends to a list.
    """
    return Sampler(interval, paths=paths, directory_bytes=lambda: 4711, deliver=[samples.append])


def take() -> Sample:
    """
    Take one sample, without a thread.
    """
    samples: list[Sample] = []
    make(samples).take()
    return samples[0]


def test_descriptors_are_counted_exactly():
    """
    Those that are open now, without the one that lists them.
    """
    expected = sum(1 for fd in range(2000) if Path(f"/proc/self/fd/{fd}").is_symlink())

    assert expected == take().fds
    with ExitStack() as stack:
        for _ in range(17):
            stack.enter_context(Path(os.devnull).open())
        assert expected + 17 == take().fds
    assert expected == take().fds


def test_threads_are_counted_exactly():
    """
    All of the process, whoever made them.
    """
    before = take().threads
    release = threading.Event()
    threads = [threading.Thread(target=release.wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    during = take().threads
    release.set()
    for thread in threads:
        thread.join()

    assert before + 5 == during


def test_memory_is_that_which_is_in_use():
    """
    It grows by what is written to.
    """
    before = take().memory_bytes
    block = bytearray(os.urandom(1)) * 60_000_000
    after = take().memory_bytes

    assert len(block) * 0.9 < after - before < len(block) * 1.5


def test_cpu_is_the_share_of_one_core_since_the_last_sample():
    """
    A busy interval shows, an idle one as well.
    """
    samples: list[Sample] = []
    sampler = make(samples)
    used = time.process_time() + 0.3
    while time.process_time() < used:
        pass
    sampler.take()
    threading.Event().wait(0.3)
    sampler.take()

    busy, idle = (sample.cpu_percent for sample in samples)
    assert busy > 10  # other processes may take most of the cores
    assert 0 <= idle < busy


def test_free_space_is_sampled_by_path(tmp_path: Path):
    """
    A path that is missing is left out, and hides no other.
    """
    samples: list[Sample] = []
    make(samples, paths=(tmp_path / "missing", tmp_path)).take()

    assert [str(tmp_path)] == list(samples[0].disk_free)
    assert samples[0].disk_free[str(tmp_path)] > 0


def test_the_rest_is_as_told():
    """
    The directory's size comes from who walks it, the moment from the wall clock.
    """
    before = clock.now_us()
    sample = take()

    assert sample.directory_bytes == 4711
    assert before <= sample.taken_at <= clock.now_us()


def test_a_sample_is_taken_at_once_and_then_at_each_interval():
    """
    As a service, until it is stopped.
    """
    samples: list[Sample] = []
    sampler = make(samples, 0.01)
    sampler.start(lambda *_: None)
    wait_until(lambda: len(samples) >= 3)
    sampler.request_stop()

    assert sampler.join(Deadline.after(5))


def test_a_sample_that_cannot_be_taken_is_left_out(caplog: pytest.LogCaptureFixture):
    """
    Without a descriptor nothing can be counted; the agent goes on, and the log says it once a time.
    """
    samples: list[Sample] = []
    sampler = make(samples)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with no_descriptor_left():
                sampler.take()
                sampler.take()
            assert samples == []
            sampler.take()
            assert len(samples) == 1
            samples.clear()

    assert caplog.text.count("cannot be sampled") == 2
    assert "Too many open files" in caplog.text


def test_what_psutil_cannot_tell_is_left_out(monkeypatch: pytest.MonkeyPatch):
    """
    /proc may be hidden from us.
    """
    samples: list[Sample] = []
    sampler = make(samples)

    def denied(process: psutil.Process) -> int:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "num_fds", denied)
    sampler.take()

    assert samples == []


def test_a_receiver_that_fails_is_not_taken_for_a_missing_sample():
    """
    What it raises is a fault of its own, and must be seen.
    """

    def deliver(sample: Sample) -> None:
        raise OSError("mine")

    sampler = Sampler(60.0, paths=(), directory_bytes=lambda: 0, deliver=[deliver])
    with pytest.raises(OSError, match="mine"):
        sampler.take()
