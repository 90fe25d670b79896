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
#: In TLS 1.3: a header of 5 bytes, the content type, a tag of 16 (RFC 8446, section 5.2).
RECORD_OVERHEAD = 22


class CountingSocket(socket.socket):
    """Counts the system calls that receive."""

    receptions = 0

    def recv_into(self, *args: object) -> int:
        self.receptions += 1
        return super().recv_into(*args)  # type: ignore[arg-type]


@dataclass
class Ends:
    """Both ends of a TLS connection."""

    client: TlsSocket
    transport: CountingSocket
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
        CountingSocket() as transport,
    ):
        transport.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * BLOCK)
        transport.settimeout(10)
        transport.connect(listener.getsockname())
        accepted, _ = listener.accept()
        shaken = pool.submit(_serve, authority, accepted)
        client = TlsSocket(transport, authority.client_context(), name)
        with shaken.result() as server:
            server.settimeout(10)
            yield Ends(client, transport, server)


def _serve(authority: CertificateAuthority, accepted: socket.socket) -> ssl.SSLSocket:
    with accepted:
        return authority.server_context().wrap_socket(accepted, server_side=True)


def test_available_bytes_are_received_with_one_system_call(ends: Ends) -> None:
    ends.server.sendall(b".")
    assert ends.receive(BLOCK) == b"."
    content = os.urandom(8 * RECORD)
    ends.server.sendall(content)
    ends.transport.recv(8 * (RECORD + RECORD_OVERHEAD), socket.MSG_PEEK | socket.MSG_WAITALL)
    before = ends.transport.receptions
    assert ends.receive(BLOCK) == content
    assert ends.transport.receptions == before + 1


@pytest.mark.parametrize("record", [RECORD, 10_000])
@pytest.mark.parametrize("size", [1, 1000, RECORD, 4 * RECORD + 1, 100_000, BLOCK])
def test_bytes_are_received_as_sent_with_any_buffer_size(
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


def test_bytes_are_sent_unchanged(ends: Ends) -> None:
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


@pytest.mark.parametrize("sends_close_notify", [False, True])
def test_the_end_follows_the_last_bytes(ends: Ends, sends_close_notify: bool) -> None:
    ends.server.sendall(b"last")
    if sends_close_notify:
        ends.server.setblocking(False)
        with contextlib.suppress(ssl.SSLWantReadError):
            ends.server.unwrap()
    ends.server.shutdown(socket.SHUT_WR)
    assert ends.receive(BLOCK) == b"last"
    assert ends.receive(BLOCK) == b""
    assert ends.receive(BLOCK) == b""


def test_a_reset_connection_is_an_error(ends: Ends) -> None:
    linger = struct.pack("ii", 1, 0)
    ends.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    ends.server.close()
    with pytest.raises(ConnectionResetError):
        ends.receive(BLOCK)


def test_bytes_that_are_not_tls_records_are_an_error(ends: Ends) -> None:
    os.write(ends.server.fileno(), b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        ends.receive(BLOCK)


def test_a_read_without_a_byte_times_out(ends: Ends) -> None:
    ends.client.settimeout(0.01)
    with pytest.raises(TimeoutError):
        ends.receive(BLOCK)


def test_pending_tls_messages_are_sent_before_a_read(ends: Ends) -> None:
    ends.client.sslobj.write(b"as if it were a response to a key update")
    ends.server.sendall(b"-")
    assert ends.receive(1) == b"-"
    assert ends.server.recv(100) == b"as if it were a response to a key update"


def test_a_certificate_for_another_name_is_rejected(authority: CertificateAuthority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError), _shake_hands(authority, "example.com"):
        pass
