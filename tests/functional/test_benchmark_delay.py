from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from benchmarks.registries import free_port, wait_for_port

CONTENT = bytes(range(256)) * 8192


@pytest.fixture
def target() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def far_port(target: socket.socket) -> Iterator[int]:
    port = free_port()
    way = f"{port}:{target.getsockname()[1]}"
    with subprocess.Popen([sys.executable, "-m", "benchmarks.delay", "0.01", way]) as proxy:
        try:
            wait_for_port(port, proxy)
            target.accept()[0].close()  # of the wait
            yield port
        finally:
            proxy.kill()


def read_to_end(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_bytes_arrive_in_order_in_both_directions_and_so_do_their_ends(
    target: socket.socket, far_port: int
) -> None:
    def echo() -> None:
        accepted, _ = target.accept()
        with accepted:
            accepted.sendall(read_to_end(accepted) + b"that was all")

    server = threading.Thread(target=echo)
    server.start()
    with socket.create_connection(("127.0.0.1", far_port), timeout=10) as client:
        client.sendall(CONTENT)
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == CONTENT + b"that was all"
    server.join()


def test_a_connection_that_its_client_leaves_is_closed_at_the_target(
    target: socket.socket, far_port: int
) -> None:
    with socket.create_connection(("127.0.0.1", far_port), timeout=10) as client:
        accepted, _ = target.accept()
        client.sendall(b"hello")
    with accepted:
        accepted.settimeout(10)
        assert read_to_end(accepted) == b"hello"


def test_a_target_that_is_gone_closes_the_connection(target: socket.socket, far_port: int) -> None:
    target.close()
    with socket.create_connection(("127.0.0.1", far_port), timeout=10) as client:
        assert client.recv(1) == b""
