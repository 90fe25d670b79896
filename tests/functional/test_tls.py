from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from local.certificates import CertificateAuthority

from ecr_image_replicator.registry.http.tls import TlsSocket

BLOCK = 256 * 1024
RECORD = 16 * 1024
#: Of TLS 1.3: a head of five bytes, the kind of content, a tag of sixteen (RFC 8446, section 5.2).
RECORD_OVERHEAD = 22


class CountingSocket(socket.socket):
    """Counts how often the kernel is asked for bytes."""

    receptions = 0

    def recv_into(self, *args: object) -> int:
        self.receptions += 1
        return super().recv_into(*args)  # type: ignore[arg-type]


@dataclass
class Ends:
    """Both ends of a connection, each with TLS on it."""

    client: TlsSocket
    wire: CountingSocket
    server: ssl.SSLSocket

    def receive(self, size: int) -> bytes:
        buffer = bytearray(size)
        return bytes(buffer[: self.client.recv_into(buffer)])


@pytest.fixture
def ends(authority: CertificateAuthority) -> Iterator[Ends]:
    with _shake_hands(authority, "localhost") as ends:
        yield ends


@contextlib.contextmanager
def _shake_hands(authority: CertificateAuthority, name: str) -> Iterator[Ends]:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        ThreadPoolExecutor(1) as pool,
        CountingSocket() as wire,
    ):
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * BLOCK)
        wire.settimeout(10)
        wire.connect(listener.getsockname())
        accepted, _ = listener.accept()
        shaken = pool.submit(_serve, authority, accepted)
        client = TlsSocket(wire, authority.client_context(), name)
        with shaken.result() as server:
            server.settimeout(10)
            yield Ends(client, wire, server)


def _serve(authority: CertificateAuthority, accepted: socket.socket) -> ssl.SSLSocket:
    with accepted:
        return authority.server_context().wrap_socket(accepted, server_side=True)


def test_what_has_come_is_received_in_one_system_call(ends: Ends) -> None:
    ends.server.sendall(b".")
    assert ends.receive(BLOCK) == b"."
    content = os.urandom(8 * RECORD)
    ends.server.sendall(content)
    ends.wire.recv(8 * (RECORD + RECORD_OVERHEAD), socket.MSG_PEEK | socket.MSG_WAITALL)
    before = ends.wire.receptions
    assert ends.receive(BLOCK) == content
    assert ends.wire.receptions == before + 1


@pytest.mark.parametrize("record", [RECORD, 10_000])
@pytest.mark.parametrize("size", [1, 1000, RECORD, 4 * RECORD + 1, 100_000, BLOCK])
def test_bytes_arrive_as_they_were_sent_whatever_the_buffer(
    ends: Ends, size: int, record: int
) -> None:
    content = os.urandom(4 * BLOCK if size > 1 else 1000)

    def send() -> None:
        for start in range(0, len(content), record):
            ends.server.sendall(content[start : start + record])

    received = b""
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send)
        while len(received) < len(content):
            received += ends.receive(size)
        sent.result()
    assert received == content


def test_bytes_are_sent_as_they_are(ends: Ends) -> None:
    content = os.urandom(BLOCK + 1)
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(ends.client.sendall, content)
        received = b""
        while len(received) < len(content):
            received += ends.server.recv(BLOCK)
        sent.result()
    assert received == content


def test_a_count_bounds_what_is_received(ends: Ends) -> None:
    ends.server.sendall(b"ABCDE")
    buffer = bytearray(5)
    assert ends.client.recv_into(buffer, 2) == 2
    assert buffer == b"AB\0\0\0"
    assert ends.receive(5) == b"CDE"


@pytest.mark.parametrize("says_farewell", [False, True])
def test_the_end_comes_after_the_last_bytes(ends: Ends, says_farewell: bool) -> None:
    ends.server.sendall(b"last")
    if says_farewell:
        ends.server.setblocking(False)
        with contextlib.suppress(ssl.SSLWantReadError):
            ends.server.unwrap()
    ends.server.shutdown(socket.SHUT_WR)
    assert ends.receive(BLOCK) == b"last"
    assert ends.receive(BLOCK) == b""
    assert ends.receive(BLOCK) == b""


def test_a_broken_connection_is_no_end(ends: Ends) -> None:
    linger = struct.pack("ii", 1, 0)
    ends.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    ends.server.close()
    with pytest.raises(ConnectionResetError):
        ends.receive(BLOCK)


def test_bytes_that_are_no_records_are_an_error(ends: Ends) -> None:
    os.write(ends.server.fileno(), b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        ends.receive(BLOCK)


def test_silence_ends_with_the_timeout(ends: Ends) -> None:
    ends.client.settimeout(0.01)
    with pytest.raises(TimeoutError):
        ends.receive(BLOCK)


def test_what_tls_itself_has_to_say_does_not_wait_for_the_next_request(ends: Ends) -> None:
    ends.client.sslobj.write(b"as if it were an answer to an update of keys")
    ends.server.sendall(b"-")
    assert ends.receive(1) == b"-"
    assert ends.server.recv(100) == b"as if it were an answer to an update of keys"


def test_a_server_of_another_name_is_refused(authority: CertificateAuthority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError), _shake_hands(authority, "example.com"):
        pass
