"""
The composition root: a configuration becomes services, in the order of their starting.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack

from conductor_loop.app.agent import Agent, Show
from conductor_loop.config import Config, Loaded
from conductor_loop.errors import ForcedStopError, ServiceCrashError, StopTimeoutError

log = logging.getLogger(__name__)

_SWITCH_SECONDS = 0.001


def run(
    config: Config,
    *,
    load: Callable[[], Loaded] | None = None,
    once: bool = False,
    show: Show = lambda files: None,
    started: Callable[[], None] = lambda: None,
) -> int:
    """
    Run the agent until a signal, or with `once` until everything there is worked off.

    Args:
        load: reads the configuration again, for a reload; None where that is not possible.
        show: told of filed files, in a thread of its own.
        started: called when everything runs.

    Returns:
        The exit code: 0, or with `once` 1 if any file failed, was rejected or could not be worked on.

    Raises:
        ConductorError: whatever ends the agent otherwise.
    """
    # Ignored by whoever started us, the kernel would reap our commands before we learn how they ended.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # A handler that only computes gives the interpreter up after this long. With the usual 5 ms, four of them hold up
    # every system call of the ledger by 20 ms.
    sys.setswitchinterval(_SWITCH_SECONDS)
    with ExitStack() as stack:
        agent = Agent(config, stack, load=load, once=once, show=show, started=started)
        try:
            agent.supervisor.run()
        except ServiceCrashError as crash:
            agent.raise_cause(crash)
        except StopTimeoutError as late:
            # A python handler, which nothing ends but the end of the process. An orderly stop counts for no file.
            log.warning("%s", late)
            agent.marks.clear_all()
            os._exit(agent.exit_code)
        except ForcedStopError as forced:
            # Threads are still at work and must not meet what the stack would close under them.
            log.warning("%s", forced)
            os._exit(forced.exit_code)
        return agent.exit_code
