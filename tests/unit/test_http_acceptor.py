"""
Accepting connections when the process has no descriptor left.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from conductor_loop.http.acceptor import Acceptor
from conductor_loop.http.connections import Connections, share_of_descriptors
from shortage import descriptors_limited_to, no_descriptor_left

PAUSE = 0.1


class Door:
    """
    A listening socket and who came through it; of those, `make_room` closes the first.
    """

    def __init__(self) -> None:
        self.came: list[socket.socket] = []
        self.asked = 0
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        self.address = listener.getsockname()
        self.acceptor = Acceptor(
            listener, accepted=self._accepted, make_room=self._make_room, pause_seconds=PAUSE
        )

    def close(self) -> None:
        self.acceptor.close()
        for connection in self.came:
            connection.close()

    def _accepted(self, connection: socket.socket, address: object) -> None:
        self.came.append(connection)

    def _make_room(self) -> bool:
        self.asked += 1
        if self.came:
            self.came.pop(0).close()
            return True
        return False


async def until(condition: Callable[[], object]) -> None:
    """
    Let the loop run until the condition holds.
    """
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - a test cannot ask every condition to be an event
            await asyncio.sleep(0.005)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_everybody_who_waits_is_let_in() -> None:
    """
    More than one at a time, and more later.
    """

    async def story() -> None:
        with ExitStack() as stack:
            door = Door()
            stack.callback(door.close)
            for number in range(1, 6):
                stack.enter_context(socket.create_connection(door.address))
                await until(lambda: len(door.came) == number)  # noqa: B023 - called at once

    asyncio.run(story())


def test_without_descriptors_somebody_makes_room(caplog: pytest.LogCaptureFixture) -> None:
    """
    The newcomer gets the descriptor of one that was let in before; the log says so once.
    """

    async def story() -> None:
        with ExitStack() as stack:
            door = Door()
            stack.callback(door.close)
            first = stack.enter_context(socket.create_connection(door.address))
            await until(lambda: door.came)
            for _ in range(3):
                late = stack.enter_context(socket.socket())
                with no_descriptor_left():
                    late.connect(door.address)
                    await until(lambda: door.came and door.came[0].getpeername() == late.getsockname())  # noqa: B023 - called at once
            assert first.recv(1) == b""
            assert (door.asked, len(door.came)) == (3, 1)

    asyncio.run(story())

    assert len(warnings(caplog)) == 1
    assert "Too many open files" in warnings(caplog)[0]


def test_where_nobody_can_make_room_accepting_pauses(caplog: pytest.LogCaptureFixture) -> None:
    """
    It is not tried again at once, for that would eat a core; whoever waits gets in later.
    """

    async def story() -> None:
        with ExitStack() as stack:
            door = Door()
            stack.callback(door.close)
            client = stack.enter_context(socket.socket())
            with no_descriptor_left():
                client.connect(door.address)
                await asyncio.sleep(PAUSE * 3.5)
                assert 2 <= door.asked <= 4
                assert door.came == []
            await until(lambda: door.came)

    asyncio.run(story())

    assert len(warnings(caplog)) == 1


def test_a_door_that_is_closed_while_it_pauses_stays_closed() -> None:
    """
    Nothing is left to be called, and the port is free.
    """

    async def story() -> None:
        door = Door()
        with socket.socket() as client:
            with no_descriptor_left():
                client.connect(door.address)
                await until(lambda: door.asked)
            door.close()
            await asyncio.sleep(PAUSE * 2)
        assert door.came == []
        socket.create_server(door.address).close()

    asyncio.run(story())


class Broken(socket.socket):
    """
    A socket whose `accept` fails in other ways.
    """

    errors: list[int]

    def accept(self) -> tuple[socket.socket, object]:
        if self.errors:
            raise OSError(self.errors.pop(0), "as told")
        return super().accept()


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM])
def test_a_connection_that_is_lost_before_it_is_accepted_stops_nobody(number: int) -> None:
    """
    The next one is let in.
    """

    async def story() -> None:
        came: list[socket.socket] = []
        listener = Broken()
        listener.errors = [number]
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        acceptor = Acceptor(
            listener,
            accepted=lambda connection, _: came.append(connection),
            make_room=lambda: False,
            pause_seconds=PAUSE,
        )
        with ExitStack() as stack:
            stack.callback(acceptor.close)
            stack.enter_context(socket.create_connection(listener.getsockname()))
            await until(lambda: came)
            came[0].close()

    asyncio.run(story())


@pytest.mark.parametrize(("soft", "share"), [(120, 30), (1024, 256), (3, 1)])
def test_connections_get_a_quarter_of_the_descriptors(soft: int, share: int) -> None:
    """
    Files and processors need the others.
    """
    with descriptors_limited_to(soft):
        assert share_of_descriptors() == share


def test_without_a_limit_the_share_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    "unlimited" is a negative number there.
    """
    unlimited = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda _: (unlimited, unlimited))

    assert share_of_descriptors() > 1_000_000


def test_room_is_made_by_the_quietest() -> None:
    """
    If there is one that only waits; one that is being answered does not count.
    """

    class Stream:
        closed = False

        def close(self) -> None:
            self.closed = True

    connections = Connections(10)
    served, first, second = Stream(), Stream(), Stream()
    for stream in (served, first, second):
        connections.open(stream)
    connections.serve(served)

    assert [connections.make_room() for _ in range(3)] == [True, True, False]
    assert (served.closed, first.closed, second.closed) == (False, True, True)
