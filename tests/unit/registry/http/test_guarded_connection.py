from __future__ import annotations

import socket
import threading
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
    """Both ends of a guarded connection."""

    def __init__(self, guard: GuardedConnection, listener: socket.socket) -> None:
        self.socket, self.handle = connect(guard, listener)
        self.accepted, _ = listener.accept()

    def close(self) -> None:
        self.handle.release()
        self.socket.close()
        self.accepted.close()


def connect(
    guard: GuardedConnection, listener: socket.socket, **more: bool
) -> tuple[socket.socket, SocketHandle]:
    options = {"is_proxy": False, **more}
    return guard.connect(
        "127.0.0.1", listener.getsockname()[1], timeout_seconds=60, options=(), **options
    )


def test_a_connection_to_an_address_outside_the_scope_is_blocked(
    listener: socket.socket,
) -> None:
    listener.settimeout(0)
    with pytest.raises(PrivateAddressError):
        connect(GuardedConnection(AddressScope.PRIVATE, None), listener)
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a_proxy_may_have_any_address(listener: socket.socket) -> None:
    guard = GuardedConnection(AddressScope.PUBLIC, None)
    connected, handle = connect(guard, listener, is_proxy=True)
    connected.close()
    handle.release()
    guard.release()
    assert handle.scope is None


def test_a_stop_closes_existing_and_later_connections(listener: socket.socket) -> None:
    deadline = Deadline(10)
    guard, later = (
        GuardedConnection(AddressScope.LOCAL, deadline),
        GuardedConnection(AddressScope.LOCAL, deadline),
    )
    ends = Connected(guard, listener)
    deadline.stop()
    assert ends.socket.recv(1) == b""
    late = Connected(later, listener)
    assert late.socket.recv(1) == b""
    for each in (ends, late):
        each.close()
    guard.release()
    later.release()


def test_an_exchange_that_outlasts_a_stop_ends_at_the_deadline(listener: socket.socket) -> None:
    deadline = Deadline(0.05)
    guard = GuardedConnection(AddressScope.LOCAL, deadline, seconds_after_stop=60)
    ends = Connected(guard, listener)
    ends.socket.settimeout(0.01)
    deadline.stop()
    with pytest.raises(TimeoutError):
        ends.socket.recv(1)
    ends.socket.settimeout(60)
    with deadline.enforced():
        assert ends.socket.recv(1) == b""
    ends.close()
    guard.release()


def test_an_exchange_that_outlasts_a_stop_ends_some_seconds_later(
    listener: socket.socket,
) -> None:
    deadline = Deadline(600)
    guard = GuardedConnection(AddressScope.LOCAL, deadline, seconds_after_stop=0.05)
    ends = Connected(guard, listener)
    ends.socket.settimeout(60)
    deadline.stop()
    assert ends.socket.recv(1) == b""
    ends.close()
    guard.release()


def test_a_released_connection_is_not_closed_some_seconds_after_a_stop(
    listener: socket.socket,
) -> None:
    deadline = Deadline(600)
    guard = GuardedConnection(AddressScope.LOCAL, deadline, seconds_after_stop=60)
    ends = Connected(guard, listener)
    deadline.stop()
    guard.release()
    for each in [each for each in threading.enumerate() if each.name == "after-stop"]:
        each.join(60)
        assert not each.is_alive()
    ends.accepted.send(b"x")
    assert ends.socket.recv(1) == b"x"
    ends.close()


def test_a_released_connection_is_not_closed_by_a_stop(listener: socket.socket) -> None:
    deadline = Deadline(10)
    guard = GuardedConnection(AddressScope.LOCAL, deadline)
    ends = Connected(guard, listener)
    guard.release()
    deadline.stop()
    ends.accepted.send(b"x")
    assert ends.socket.recv(1) == b"x"
    ends.close()


def test_a_reused_connection_is_closed_by_the_deadline_of_its_current_exchange(
    listener: socket.socket,
) -> None:
    first, second = Deadline(10), Deadline(10)
    guard, later = (
        GuardedConnection(AddressScope.LOCAL, first),
        GuardedConnection(AddressScope.LOCAL, second),
    )
    ends = Connected(guard, listener)
    guard.release()
    later.use(ends.handle)
    first.stop()
    ends.accepted.send(b"x")
    assert ends.socket.recv(1) == b"x"
    second.stop()
    assert ends.socket.recv(1) == b""
    ends.close()
    later.release()


def test_a_stop_ends_reading_after_the_socket_was_closed(
    listener: socket.socket,
) -> None:
    deadline = Deadline(10)
    guard = GuardedConnection(AddressScope.LOCAL, deadline)
    ends = Connected(guard, listener)
    with ends.socket.makefile("rb") as response:
        ends.socket.close()
        ends.handle.release()
        deadline.stop()
        assert response.read(1) == b""
    ends.accepted.close()
    guard.release()
