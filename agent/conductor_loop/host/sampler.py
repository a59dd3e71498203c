"""
The agent's own resources; the only place that knows psutil.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from conductor_loop import clock
from conductor_loop.host.disk import free_bytes
from conductor_loop.model import Sample
from conductor_loop.runtime.service import Ticker

log = logging.getLogger(__name__)


class Sampler(Ticker):
    """
    Takes a sample now and then.

    Args:
        interval: seconds.
        paths: directories whose free space is sampled.
        directory_bytes: returns the handoff directory's size as last found.
        deliver: called with each sample, one after the other; must return at once.
    """

    def __init__(
        self,
        interval: float,
        *,
        paths: Sequence[Path],
        directory_bytes: Callable[[], int],
        deliver: Sequence[Callable[[Sample], None]],
    ) -> None:
        super().__init__("sampler", self.take, interval=interval)
        self._paths = paths
        self._directory_bytes = directory_bytes
        self._deliver = deliver
        self._process = psutil.Process()
        self._failing = False
        self._process.cpu_percent()  # the first call only sets the mark that the next one measures from

    def take(self) -> None:
        """
        Take one sample and deliver it; one that cannot be taken is left out.
        """
        try:
            sample = self._sample()
        except (OSError, psutil.Error) as error:
            log.log(
                logging.DEBUG if self._failing else logging.WARNING, "resources cannot be sampled: %s", error
            )
            self._failing = True
            return
        self._failing = False
        for deliver in self._deliver:
            deliver(sample)

    def _sample(self) -> Sample:
        with self._process.oneshot():
            return Sample(
                taken_at=clock.now_us(),
                memory_bytes=self._process.memory_info().rss,
                threads=self._process.num_threads(),
                fds=self._process.num_fds() - 1,  # without the one that lists them
                cpu_percent=self._process.cpu_percent(),
                directory_bytes=self._directory_bytes(),
                disk_free={str(path): free for path in self._paths if (free := free_bytes(path)) is not None},
            )
