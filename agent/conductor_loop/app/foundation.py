"""
What every use of a state directory stands on: its lock, directories, store, live numbers and ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from conductor_loop import clock
from conductor_loop.app.inheritance import end_orphans, own_state
from conductor_loop.app.parts import author_of, command_name, paths_of
from conductor_loop.config import Config
from conductor_loop.ledger.ledger import Ledger
from conductor_loop.ledger.locks import PATIENCE_SECONDS, Role
from conductor_loop.ledger.marks import Marks, read_boot_id
from conductor_loop.ledger.opening import Memory, open_ledger, remember
from conductor_loop.ledger.places import Places
from conductor_loop.metrics.live import Live
from conductor_loop.metrics.verdict import old_sqlite
from conductor_loop.model import Filed
from conductor_loop.store.database import Store


@dataclass(frozen=True, slots=True)
class Foundation:
    """
    The parts that own files and history; nothing runs yet.
    """

    store: Store
    marks: Marks
    live: Live
    ledger: Ledger
    totals: Mapping[tuple[str, str], int]  #: the durable counters, as they are at the start


def lay_foundation(
    config: Config,
    owner: str,
    stack: ExitStack,
    *,
    role: Role = Role.AGENT,
    announce: Callable[[Sequence[Filed]], None],
    look_ahead: int | None = None,
) -> Foundation:
    """
    Take possession of the state and handoff directories, and end what a dead agent left running.

    Args:
        owner: how others name who holds the directories, in one line.
        stack: closes everything, in the right order.
        role: what holds them.
        announce: told of filed files; must return at once.
        look_ahead: instead of the configured one.

    Raises:
        CommandAtWorkError: a command uses it, and did not end soon.
        ConfigError: something cannot be used, or another agent uses it.
        StoreError: the store cannot be used.
        PermissionDeniedError: this user may not.
    """
    own_state(config, owner, stack, role=role)
    places = Places(
        paths_of(config), agent=config.agent.name, owner=owner, role=role, patience=PATIENCE_SECONDS
    )
    stack.callback(places.close)
    store = Store.open(config.agent.state_dir, now=clock.now_us())
    stack.callback(store.close)
    marks = Marks(config.agent.state_dir / "running", count=config.agent.max_workers, boot=read_boot_id())
    stack.callback(marks.close)
    memory = remember(store)
    live = _make_live(config, store, memory)
    ledger = open_ledger(
        memory,
        store=store,
        places=places,
        marks=marks,
        left_behind=end_orphans(marks),
        live=live,
        author=author_of(config),
        announce=announce,
        look_ahead=look_ahead or config.agent.look_ahead,
        max_waiting=config.retry.max_waiting,
        max_delay=config.retry.max_delay,
        scan_interval=config.agent.scan_interval,
    )
    stack.callback(ledger.close_places)
    return Foundation(store, marks, live, ledger, memory.totals)


def _make_live(config: Config, store: Store, memory: Memory) -> Live:
    live = Live(
        max_workers=config.agent.max_workers,
        command_name=command_name(config),
        totals=memory.totals,
        recent=memory.recent,
        last_success_at=memory.last_success_at,
        store_id=store.store_id,
        agent_name=config.agent.name,
    )
    live.warn("sqlite", old_sqlite(Store.sqlite_version))
    if store.set_aside is not None:
        live.warn("set_aside", f"the store was damaged and set aside as {store.set_aside}")
    if store.put_back is not None:
        live.warn("put_back", store.put_back.describe())
    return live
