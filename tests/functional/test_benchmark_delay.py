"""benchmarks.delay: a TCP proxy that adds latency."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from benchmarks.registries import wait_for_port
from local.ports import reserved_port
from tests.waiting import MAX_WAIT_SECONDS

CONTENT = bytes(range(256)) * 8192


@pytest.fixture
def target() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def delayed_port(target: socket.socket) -> Iterator[int]:
    with reserved_port() as port, running_delay(f"{port}:{target.getsockname()[1]}") as proxy:
        try:
            wait_for_port(port, proxy, seconds=MAX_WAIT_SECONDS)
            target.accept()[0].close()  # the connection of wait_for_port
            yield port
        finally:
            proxy.kill()


def running_delay(route: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "benchmarks.delay", "0.01", route])


def read_to_end(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_bytes_and_end_of_stream_are_forwarded_in_both_directions(
    target: socket.socket, delayed_port: int
) -> None:
    def echo() -> None:
        accepted, _ = target.accept()
        with accepted:
            accepted.sendall(read_to_end(accepted) + b"that was all")

    server = threading.Thread(target=echo)
    server.start()
    with socket.create_connection(("127.0.0.1", delayed_port), timeout=60) as client:
        client.sendall(CONTENT)
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == CONTENT + b"that was all"
    server.join()


def test_the_target_connection_is_closed_after_the_client_closes(
    target: socket.socket, delayed_port: int
) -> None:
    with socket.create_connection(("127.0.0.1", delayed_port), timeout=60) as client:
        accepted, _ = target.accept()
        client.sendall(b"hello")
    with accepted:
        assert read_to_end(accepted) == b"hello"


def test_the_client_connection_is_closed_if_the_target_is_not_listening(
    target: socket.socket, delayed_port: int
) -> None:
    target.shutdown(socket.SHUT_RDWR)  # the port remains reserved
    with socket.create_connection(("127.0.0.1", delayed_port), timeout=60) as client:
        assert client.recv(1) == b""
