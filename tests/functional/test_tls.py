"""TlsSocket against an ssl.SSLSocket."""

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
#: TLS 1.3: 5 bytes of header, 1 of content type, 16 of tag (RFC 8446, section 5.2).
RECORD_OVERHEAD = 22


class CountingSocket(socket.socket):
    """A socket that counts the calls of recv_into."""

    receptions = 0

    def recv_into(self, *args: object) -> int:
        self.receptions += 1
        return super().recv_into(*args)  # type: ignore[arg-type]


@dataclass
class TlsPair:
    """The client and the server of a TLS connection."""

    client: TlsSocket
    transport: CountingSocket
    server: ssl.SSLSocket

    def receive(self, size: int) -> bytes:
        buffer = bytearray(size)
        return bytes(buffer[: self.client.recv_into(buffer)])


@pytest.fixture
def pair(authority: CertificateAuthority) -> Iterator[TlsPair]:
    with _connect(authority, "localhost") as pair:
        yield pair


@contextlib.contextmanager
def _connect(authority: CertificateAuthority, name: str) -> Iterator[TlsPair]:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        ThreadPoolExecutor(1) as pool,
        CountingSocket() as transport,
    ):
        transport.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * BLOCK)
        transport.settimeout(10)
        transport.connect(listener.getsockname())
        accepted, _ = listener.accept()
        handshake = pool.submit(_serve, authority, accepted)
        client = TlsSocket(transport, authority.client_context(), name)
        with handshake.result() as server:
            server.settimeout(10)
            yield TlsPair(client, transport, server)


def _serve(authority: CertificateAuthority, accepted: socket.socket) -> ssl.SSLSocket:
    with accepted:
        return authority.server_context().wrap_socket(accepted, server_side=True)


def test_available_bytes_are_received_with_one_system_call(pair: TlsPair) -> None:
    pair.server.sendall(b".")
    assert pair.receive(BLOCK) == b"."
    content = os.urandom(8 * RECORD)
    pair.server.sendall(content)
    pair.transport.recv(8 * (RECORD + RECORD_OVERHEAD), socket.MSG_PEEK | socket.MSG_WAITALL)
    before = pair.transport.receptions
    assert pair.receive(BLOCK) == content
    assert pair.transport.receptions == before + 1


@pytest.mark.parametrize("record", [RECORD, 10_000])
@pytest.mark.parametrize("size", [1, 1000, RECORD, 4 * RECORD + 1, 100_000, BLOCK])
def test_bytes_are_received_as_sent_with_any_buffer_size(
    pair: TlsPair, size: int, record: int
) -> None:
    content = os.urandom(4 * BLOCK if size > 1 else 1000)

    def send() -> None:
        for start in range(0, len(content), record):
            pair.server.sendall(content[start : start + record])

    received = b""
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send)
        while len(received) < len(content):
            received += pair.receive(size)
        sent.result()
    assert received == content


def test_bytes_are_sent_unchanged(pair: TlsPair) -> None:
    content = os.urandom(BLOCK + 1)
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(pair.client.sendall, content)
        received = b""
        while len(received) < len(content):
            received += pair.server.recv(BLOCK)
        sent.result()
    assert received == content


def test_recv_into_receives_at_most_the_given_count(pair: TlsPair) -> None:
    pair.server.sendall(b"ABCDE")
    buffer = bytearray(5)
    assert pair.client.recv_into(buffer, 2) == 2
    assert buffer == b"AB\0\0\0"
    assert pair.receive(5) == b"CDE"


@pytest.mark.parametrize("sends_close_notify", [False, True])
def test_the_end_of_the_stream_is_reported_after_the_last_bytes(
    pair: TlsPair, sends_close_notify: bool
) -> None:
    pair.server.sendall(b"last")
    if sends_close_notify:
        pair.server.setblocking(False)
        with contextlib.suppress(ssl.SSLWantReadError):
            pair.server.unwrap()
    pair.server.shutdown(socket.SHUT_WR)
    assert pair.receive(BLOCK) == b"last"
    assert pair.receive(BLOCK) == b""
    assert pair.receive(BLOCK) == b""


def test_a_reset_connection_is_an_error(pair: TlsPair) -> None:
    linger = struct.pack("ii", 1, 0)
    pair.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    pair.server.close()
    with pytest.raises(ConnectionResetError):
        pair.receive(BLOCK)


def test_bytes_that_are_not_tls_records_are_an_error(pair: TlsPair) -> None:
    os.write(pair.server.fileno(), b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        pair.receive(BLOCK)


def test_a_read_without_data_times_out(pair: TlsPair) -> None:
    pair.client.settimeout(0.01)
    with pytest.raises(TimeoutError):
        pair.receive(BLOCK)


def test_pending_tls_messages_are_sent_before_a_read(pair: TlsPair) -> None:
    pair.client.sslobj.write(b"as if it were a response to a key update")
    pair.server.sendall(b"-")
    assert pair.receive(1) == b"-"
    assert pair.server.recv(100) == b"as if it were a response to a key update"


def test_a_certificate_for_another_name_is_rejected(authority: CertificateAuthority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError), _connect(authority, "example.com"):
        pass
