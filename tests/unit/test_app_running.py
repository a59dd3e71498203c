"""
What the parts of a running agent take over, and what keeps them from it.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from conductor_loop.errors import ConfigError
from reloading import reloading
from waiting import wait_until

EVERYTHING: dict[str, dict[str, object]] = {
    "agent": {
        "max_workers": 3,
        "look_ahead": 7,
        "settle": "3s",
        "settle_max": "9m",
        "shutdown_grace": "40s",
        "scan_interval": "8s",
        "min_free": "123MiB",
        "pattern": "order-*.json",
    },
    "processor": {"command": ["/bin/render", "{path}"], "kill_grace": "7s"},
    "retry": {"max_waiting": 99},
    "history": {"sample_interval": "33s"},
    "files": {"keep_failed": "7d"},
    "log": {"level": "error"},
}


def test_every_part_takes_over_what_it_is_made_of(tmp_path: Path) -> None:
    """
    None goes on with what was replaced.
    """
    with reloading(tmp_path) as one:
        agent = one.agent
        one.reload(EVERYTHING)
        wait_until(lambda: agent.ledger.admission.room() == 7 and agent.intake._terms.settle == 3.0)
        snapshot = agent.live.snapshot()

        assert (snapshot.max_workers, snapshot.command_name) == (3, "render")
        assert agent.pool.stop_seconds == 47.0
        assert agent.ledger._terms.author.porch_path == "/bin/render"
        assert (agent.ledger._terms.max_waiting, agent.ledger._terms.scan_interval) == (99, 8.0)
        assert (agent.intake._terms.settle_max, agent.intake._terms.scan_interval) == (540.0, 8.0)
        assert agent.intake._terms.names.accepts("order-1.json")
        assert agent.disk._min_free == 123 << 20
        assert agent.sampler._interval == 33.0
        assert agent.supervisor._grace > 47.0
        assert agent.retention._walks[1].keep == 7 * 86_400.0
        assert logging.getLogger().level == logging.ERROR


def test_without_further_threads_nothing_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The limit of the service, say; whoever asked is told which key is too large.
    """
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "worker-9":
            raise RuntimeError("can't start new thread")
        start(thread)

    with reloading(tmp_path) as one:
        before = one.reloader.config
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(ConfigError, match=r"agent\.max_workers = 20: .*can't start new thread"):
            one.reload({"agent": {"max_workers": 20, "settle": "3s"}})

        assert one.reloader.config == before
        assert one.agent.live.snapshot().max_workers == before.agent.max_workers
        assert one.agent.intake._wanted.settle == before.agent.settle
