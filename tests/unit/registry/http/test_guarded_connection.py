from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.registry.http.guarded_connection import (
    AddressScope,
    GuardedConnection,
    PrivateAddressError,
    SocketHandle,
    is_s3,
    scope_of,
)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "52.95.110.1",
        "2600:1f18::1",
        "64:ff9b::808:808",
        "::ffff:8.8.8.8",
        "2002:808:808::1",
    ],
)
def test_what_everybody_can_reach_is_public(address: str) -> None:
    assert scope_of(address) is AddressScope.PUBLIC


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "fc00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
    ],
)
def test_what_only_a_network_can_reach_is_private(address: str) -> None:
    assert scope_of(address) is AddressScope.PRIVATE


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",  # noqa: S104 - an address like the others
        "169.254.169.254",
        "169.254.170.2",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
    ],
)
def test_what_only_this_machine_can_reach_is_local(address: str) -> None:
    assert scope_of(address) is AddressScope.LOCAL


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com", True),
        ("bucket.s3.amazonaws.com", True),
        ("s3.amazonaws.com", True),
        ("s3-eu-west-1.amazonaws.com", True),
        ("bucket.s3.dualstack.eu-west-1.amazonaws.com", True),
        ("bucket.s3.cn-north-1.amazonaws.com.cn", True),
        ("bucket.s3.amazonaws.com.evil.example", False),
        ("s3.evil.example", False),
        ("evils3.amazonaws.com", False),
        ("ec2-10-0-0-1.eu-west-1.compute.amazonaws.com", False),
    ],
)
def test_s3_is_known_by_its_whole_name(host: str, expected: bool) -> None:
    assert is_s3(host) is expected


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
