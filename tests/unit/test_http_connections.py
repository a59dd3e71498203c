"""
The cap on connections, and who holds a port.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from conductor_loop.http.connections import Connections
from conductor_loop.http.holder import holder


class Stream:
    """
    A connection that can only be closed.
    """

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def opened(connections: Connections, count: int) -> list[Stream]:
    """
    Open some connections, one after the other.
    """
    streams = [Stream() for _ in range(count)]
    for stream in streams:
        connections.open(stream)
    return streams


def test_nobody_gives_way_below_the_cap():
    """
    As many as allowed stay open.
    """
    connections = Connections(3)
    streams = opened(connections, 3)

    assert [stream.closed for stream in streams] == [False, False, False]
    assert len(connections) == 3


def test_the_one_that_waits_longest_gives_way():
    """
    A new connection is always let in; one that has just been answered is no longer the quietest.
    """
    connections = Connections(3)
    first, second, third = opened(connections, 3)
    connections.serve(first)
    connections.await_request(first)

    opened(connections, 1)

    assert [stream.closed for stream in (first, second, third)] == [False, True, False]
    assert len(connections) == 3


def test_a_request_that_is_answered_is_not_cut_off():
    """
    Even if its connection is the oldest.
    """
    connections = Connections(2)
    served, waiting = opened(connections, 2)
    connections.serve(served)

    opened(connections, 1)

    assert (served.closed, waiting.closed) == (False, True)


def test_when_all_are_answered_newcomers_take_each_others_place():
    """
    The cap is passed by one at most.
    """
    connections = Connections(2)
    served = opened(connections, 2)
    for stream in served:
        connections.serve(stream)

    newcomers = opened(connections, 5)

    assert [stream.closed for stream in newcomers] == [True, True, True, True, False]
    assert not any(stream.closed for stream in served)
    assert len(connections) == 3


def test_closed_connections_are_forgotten():
    """
    In whatever state they were, once or twice.
    """
    connections = Connections(2)
    waiting, served = opened(connections, 2)
    connections.serve(served)
    for stream in (waiting, served, served):
        connections.close(stream)

    assert len(connections) == 0


def test_the_holder_of_a_port_is_named():
    """
    By process id and name.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = holder(listener.getsockname()[1])

    assert found == f"pid {os.getpid()} ({Path('/proc/self/comm').read_text().strip()})"


def test_a_holder_with_a_name_that_is_no_text_is_named_all_the_same():
    """
    A process calls itself whatever it wants.
    """
    before = Path("/proc/self/comm").read_bytes().strip()
    try:
        Path("/proc/self/comm").write_bytes(b"ab\xff\xfe")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            assert holder(listener.getsockname()[1]) == f"pid {os.getpid()} (ab\\xff\\xfe)"
    finally:
        Path("/proc/self/comm").write_bytes(before)


def test_nobody_holds_a_free_port():
    """
    Nor one that is only connected.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert holder(port) is None


def test_no_holder_is_told_where_proc_cannot_be_read(tmp_path: Path):
    """
    It is a help, not a need.
    """
    assert holder(80, proc=tmp_path) is None
