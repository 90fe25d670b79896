"""A proxy between the replicator and a registry that injects faults into chosen exchanges."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.faults.stalls import stall

_BLOCK_BYTES = 65536
_HEAD_BLOCK_BYTES = 4096
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CONNECTION = re.compile(rb"\r\nconnection: *[^\r]*", re.IGNORECASE)
#: Longer than a working client delays a request.
_NEVER_SECONDS = 60.0


class ClientDisconnectedError(Exception):
    """The client closed the connection in the middle of a request."""


@dataclass
class Record:
    """The request line and the sizes of an exchange."""

    method: str
    target: str
    request_bytes: int
    response_bytes: int = 0


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
    """A request in the proxy, with operations that faults are composed of."""

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
            block = bytes(self.received[:wanted])  # bytes received together with the head
            del self.received[: len(block)]
            block = block or self.client.recv(min(_BLOCK_BYTES, wanted))
            if not block:
                raise ClientDisconnectedError
            self.request.body += block
            self.unread_bytes -= len(block)
            wanted -= len(block)

    def forward(self) -> Message:
        """Forward the request with the part of its body that was read and return the response."""
        head = _CONNECTION.sub(b"", self.request.head).removesuffix(b"\r\n")
        self.forwarded += 1
        with self.connect() as server:
            server.sendall(head + b"Connection: close\r\n\r\n" + self.request.body)
            if self.unread_bytes:
                return Message(b"")
            response = b"".join(iter(lambda: server.recv(_BLOCK_BYTES), b""))
        head, end, body = response.partition(b"\r\n\r\n")
        self.record.response_bytes = len(body)
        return Message(_CONNECTION.sub(b"", head) + end, body)

    def send(self, response: Message, count: int | None = None) -> None:
        """Send a response, or its head and the first `count` bytes of its body."""
        body = response.body if count is None else response.body[:count]
        self.client.sendall(response.head + body)

    def stall(self) -> None:
        """Send nothing more; the client times out within `declared_stalls`."""
        stall(self.client)
        self.wait_for_client_close()

    def wait_for_client_close(self) -> None:
        """Send nothing until the client closes the connection."""
        self.client.settimeout(_NEVER_SECONDS)
        self.ended = True
        try:
            while self.client.recv(_BLOCK_BYTES):
                pass
        except TimeoutError as error:
            message = f"the client waited for more than {_NEVER_SECONDS} s"
            raise AssertionError(message) from error

    def close(self) -> None:
        self.ended = True

    def reset(self) -> None:
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.ended = True


Fault = Callable[[Exchange], None]
"""Handles one exchange and can end the connection with `close` or `reset`."""


def pass_on(exchange: Exchange) -> None:
    exchange.read_body()
    exchange.send(exchange.forward())


@dataclass
class FaultProxy:
    """A proxy on loopback that runs inside `with`. `choose` returns the fault of each exchange.

    `upstream` is a plain ``host:port``, or a function that connects; `tls` is for clients.
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
        self._changed = threading.Condition(self._lock)
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

    def reset_exchanges(self, choose: Callable[[Exchange], Fault]) -> None:
        """Clear the list of exchanges and replace the choice of faults."""
        with self._lock:
            self.exchanges.clear()
            self.choose = choose

    @property
    def open_connections(self) -> int:
        """The number of connections that clients have not closed yet, as far as the proxy knows."""
        with self._lock:
            return len(self._open)

    def wait_until_closed(self) -> bool:
        """Wait until every client has closed its connections; return whether all have."""
        with self._lock:
            return self._changed.wait_for(lambda: not self._open, _NEVER_SECONDS)

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
        except (OSError, ClientDisconnectedError):
            pass  # the client or the registry closed the connection
        except Exception as error:  # noqa: BLE001 - the scene asserts that there is none
            self.defects.append(error)
        finally:
            client.close()
            accepted.close()
            with self._lock:
                del self._open[accepted]
                self._changed.notify_all()

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
    """Return the next request head, or b"" if the client has closed the connection."""
    while (end := received.find(b"\r\n\r\n") + 4) < 4:
        block = client.recv(_HEAD_BLOCK_BYTES)
        if not block:
            return b""
        received += block
    head = bytes(received[:end])
    del received[:end]
    return head
