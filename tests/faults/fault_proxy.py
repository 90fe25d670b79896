"""A proxy between the replicator and a registry which spoils one exchange, or many, on purpose."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_BLOCK_BYTES = 65536
_HEAD_BLOCK_BYTES = 4096
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CONNECTION = re.compile(rb"\r\nconnection: *[^\r]*", re.IGNORECASE)
_NEVER_SECONDS = 10.0


class ClientGoneError(Exception):
    pass


@dataclass
class Record:
    """What passed in an exchange."""

    method: str
    target: str
    request_bytes: int
    answer_bytes: int = 0


@dataclass
class Message:
    head: bytes
    body: bytes = b""

    @property
    def method(self) -> str:
        return self.head.partition(b" ")[0].decode()

    @property
    def target(self) -> str:
        return self.head.split(b" ", 2)[1].decode()

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    @property
    def announced_bytes(self) -> int:
        found = _CONTENT_LENGTH.search(self.head)
        return int(found[1]) if found else 0

    def with_header(self, line: bytes) -> Message:
        return Message(self.head.removesuffix(b"\r\n") + line + b"\r\n\r\n", self.body)

    def announcing(self, length: int) -> Message:
        line = b"\r\nContent-Length: " + str(length).encode()
        return Message(_CONTENT_LENGTH.sub(line, self.head), self.body)


@dataclass
class Exchange:
    """One request on its way through the proxy; what a fault may do with it."""

    record: Record
    number: int
    request: Message
    client: socket.socket
    connect: Callable[[], socket.socket]
    unread_bytes: int
    received: bytearray
    ended: bool = False
    forwarded: int = 0

    def read_body(self, limit_bytes: int | None = None) -> None:
        wanted = self.unread_bytes if limit_bytes is None else min(limit_bytes, self.unread_bytes)
        while wanted:
            block = bytes(self.received[:wanted])  # it came with the head
            del self.received[: len(block)]
            block = block or self.client.recv(min(_BLOCK_BYTES, wanted))
            if not block:
                raise ClientGoneError
            self.request.body += block
            self.unread_bytes -= len(block)
            wanted -= len(block)

    def forward(self) -> Message:
        """Send the request on, with as much of its body as was read, and read the answer."""
        head = _CONNECTION.sub(b"", self.request.head).removesuffix(b"\r\n")
        self.forwarded += 1
        with self.connect() as server:
            server.sendall(head + b"Connection: close\r\n\r\n" + self.request.body)
            if self.unread_bytes:
                return Message(b"")
            answer = b"".join(iter(lambda: server.recv(_BLOCK_BYTES), b""))
        answered_head, end, body = answer.partition(b"\r\n\r\n")
        self.record.answer_bytes = len(body)
        return Message(_CONNECTION.sub(b"", answered_head) + end, body)

    def send(self, answer: Message, count: int | None = None) -> None:
        body = answer.body if count is None else answer.body[:count]
        self.client.sendall(answer.head + body)

    def wait_for_client_to_go(self) -> None:
        """Be silent until the client has had enough of it."""
        self.client.settimeout(_NEVER_SECONDS)
        self.ended = True
        try:
            while self.client.recv(_BLOCK_BYTES):
                pass
        except TimeoutError as error:
            message = f"the client waited for {_NEVER_SECONDS} seconds and more"
            raise AssertionError(message) from error

    def close(self) -> None:
        self.ended = True

    def reset(self) -> None:
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.ended = True


Fault = Callable[[Exchange], None]
"""Deals with one exchange; ends the connection by `close` or `reset`."""


def pass_on(exchange: Exchange) -> None:
    exchange.read_body()
    exchange.send(exchange.forward())


@dataclass
class FaultProxy:
    """Listens on loopback from `with` to its end; `choose` gives each exchange its fate.

    `upstream` is a plain ``host:port``, or gives connections; `tls` is for the side of the client.
    """

    upstream: str | Callable[[], socket.socket]
    choose: Callable[[Exchange], Fault] = lambda _: pass_on
    exchanges: list[Record] = field(default_factory=list)
    address: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self._listener = socket.create_server((self.address, 0), backlog=64)
        self.host = f"{self.address}:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self.defects: list[BaseException] = []

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        with self._lock:
            connections = dict(self._open)
        for connection, thread in connections.items():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()

    def start_over(self, choose: Callable[[Exchange], Fault]) -> None:
        """Count exchanges from 0 again, with other fates."""
        with self._lock:
            self.exchanges.clear()
            self.choose = choose

    def is_left_alone(self, timeout_seconds: float = 2.0) -> bool:
        """Tell whether every client has closed its connections, waiting for them to do it."""
        until = time.monotonic() + timeout_seconds
        while self._open and time.monotonic() < until:
            time.sleep(0.001)
        return not self._open

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(
                target=self._serve, args=(client,), name="proxy-connection", daemon=True
            )
            with self._lock:
                self._open[client] = thread
            thread.start()

    def _connect(self) -> socket.socket:
        if not isinstance(self.upstream, str):
            return self.upstream()
        name, _, port = self.upstream.partition(":")
        return socket.create_connection((name, int(port)), timeout=_NEVER_SECONDS)

    def _serve(self, accepted: socket.socket) -> None:
        client = accepted
        try:
            if self.tls is not None:
                client = self.tls.wrap_socket(accepted, server_side=True)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received = bytearray()
            while (head := _read_head(client, received)) and self._handle(head, received, client):
                pass
        except (OSError, ClientGoneError):
            pass  # the client went away, or the registry did not like what it was sent
        except Exception as error:  # noqa: BLE001 - shown by the test that finds it
            self.defects.append(error)
        finally:
            # before the socket: whoever waits for it to be closed must find it gone
            client.close()
            accepted.close()
            with self._lock:
                del self._open[accepted]

    def _handle(self, head: bytes, received: bytearray, client: socket.socket) -> bool:
        request = Message(head)
        with self._lock:
            number = len(self.exchanges)
            record = Record(request.method, request.target, request.announced_bytes)
            self.exchanges.append(record)
            choose = self.choose
        exchange = Exchange(
            record, number, request, client, self._connect, record.request_bytes, received
        )
        choose(exchange)(exchange)
        return not exchange.ended


def _read_head(client: socket.socket, received: bytearray) -> bytes:
    """Take a head off what was received, b"" when the client sends no more."""
    while (end := received.find(b"\r\n\r\n") + 4) < 4:
        block = client.recv(_HEAD_BLOCK_BYTES)
        if not block:
            return b""
        received += block
    head = bytes(received[:end])
    del received[:end]
    return head
