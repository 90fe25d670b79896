from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.registry.http.addresses import AddressScope
from ecr_image_replicator.registry.http.guarded_connection import (
    GuardedConnection,
    PrivateAddressError,
    SocketHandle,
)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


class Connected:
    """The two ends of a connection over a wire."""

    def __init__(self, wire: GuardedConnection, listener: socket.socket) -> None:
        self.socket, self.line = connect(wire, listener)
        self.accepted, _ = listener.accept()

    def close(self) -> None:
        self.line.let_go()
        self.socket.close()
        self.accepted.close()


def connect(
    wire: GuardedConnection, listener: socket.socket, **more: bool
) -> tuple[socket.socket, SocketHandle]:
    options = {"is_proxy": False, **more}
    return wire.connect(
        "127.0.0.1", listener.getsockname()[1], timeout_seconds=5, options=(), **options
    )


def test_an_address_that_is_too_far_inward_is_not_connected_to(listener: socket.socket) -> None:
    listener.settimeout(0)
    with pytest.raises(PrivateAddressError):
        connect(GuardedConnection(AddressScope.PRIVATE, None), listener)
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a_proxy_may_be_anywhere(listener: socket.socket) -> None:
    wire = GuardedConnection(AddressScope.PUBLIC, None)
    connected, line = connect(wire, listener, is_proxy=True)
    connected.close()
    line.let_go()
    wire.end()
    assert line.scope is None


def test_a_cut_wakes_who_waits_and_what_comes_later(listener: socket.socket) -> None:
    deadline = Deadline(10)
    wire, later = (
        GuardedConnection(AddressScope.LOCAL, deadline),
        GuardedConnection(AddressScope.LOCAL, deadline),
    )
    ends = Connected(wire, listener)
    deadline.stop()
    assert ends.socket.recv(1) == b""
    late = Connected(later, listener)
    assert late.socket.recv(1) == b""
    for each in (ends, late):
        each.close()
    wire.end()
    later.end()


def test_what_outlasts_a_stop_is_cut_when_the_time_is_over(listener: socket.socket) -> None:
    deadline = Deadline(0.05)
    wire = GuardedConnection(AddressScope.LOCAL, deadline, outlasts_stop=True)
    ends = Connected(wire, listener)
    ends.socket.settimeout(0.01)
    deadline.stop()
    with pytest.raises(TimeoutError):
        ends.socket.recv(1)
    ends.socket.settimeout(5)
    with deadline.enforced():
        assert ends.socket.recv(1) == b""
    ends.close()
    wire.end()


def test_what_has_ended_is_not_cut(listener: socket.socket) -> None:
    deadline = Deadline(10)
    wire = GuardedConnection(AddressScope.LOCAL, deadline)
    ends = Connected(wire, listener)
    wire.end()
    deadline.stop()
    ends.accepted.send(b"x")
    assert ends.socket.recv(1) == b"x"
    ends.close()


def test_a_connection_that_goes_from_one_wire_to_the_next_is_cut_with_the_last(
    listener: socket.socket,
) -> None:
    first, second = Deadline(10), Deadline(10)
    wire, later = (
        GuardedConnection(AddressScope.LOCAL, first),
        GuardedConnection(AddressScope.LOCAL, second),
    )
    ends = Connected(wire, listener)
    wire.end()
    later.go_over(ends.line)
    first.stop()
    ends.accepted.send(b"x")
    assert ends.socket.recv(1) == b"x"
    second.stop()
    assert ends.socket.recv(1) == b""
    ends.close()
    later.end()


def test_a_socket_that_was_closed_while_its_answer_is_read_can_be_cut(
    listener: socket.socket,
) -> None:
    deadline = Deadline(10)
    wire = GuardedConnection(AddressScope.LOCAL, deadline)
    ends = Connected(wire, listener)
    with ends.socket.makefile("rb") as answer:
        ends.socket.close()
        ends.line.let_go()
        deadline.stop()
        assert answer.read(1) == b""
    ends.accepted.close()
    wire.end()
