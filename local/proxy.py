"""An HTTP proxy that opens tunnels (CONNECT, RFC 9110, section 9.3.6) only to loopback.

Programs with `HTTPS_PROXY` resolve no names and use TLS with the original host names through
the tunnel.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

from local.running import Running

_HEAD_LIMIT_BYTES = 16 * 1024
_BLOCK_BYTES = 256 * 1024
_HEAD_SECONDS = 60.0

TunnelTarget = Callable[[str, int], int | None]
"""Returns the loopback port for a host and port, or None to reject the host."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One CONNECT and its status: 200, 403 for an unknown host, 400, 502, or `rejection`."""

    host: str
    port: int
    status: int


class ConnectProxy(Running):
    """A proxy on 127.0.0.1 that runs from `start` (or `with`) to `close`. Port 0 is a free port.

    If `rejection` is set, all CONNECT requests fail with this status, such as 407.

    Raises
    ------
    OSError
        The port is in use.
    """

    def __init__(self, target: TunnelTarget, *, port: int = 0) -> None:
        self._server = _ProxyServer(target, port)
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread: threading.Thread | None = None

    @property
    def rejection(self) -> int | None:
        """The status of all CONNECT requests, or None to open tunnels."""
        return self._server.rejection

    @rejection.setter
    def rejection(self, status: int | None) -> None:
        self._server.rejection = status

    @property
    def tunnels(self) -> tuple[Tunnel, ...]:
        """All CONNECT requests, in the order of their responses."""
        with self._server.lock:
            return tuple(self._server.tunnels)

    def clear_tunnels(self) -> None:
        """Clear the list of tunnels. Open tunnels stay open."""
        with self._server.lock:
            self._server.tunnels.clear()

    def start(self) -> Self:
        """Start accepting connections."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="proxy", daemon=True
        )
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop accepting and close all tunnels. Can be called twice."""
        if self._thread is not None:
            with contextlib.suppress(OSError):
                # the thread ends at once, or at its next poll on systems that reject this
                self._server.socket.shutdown(socket.SHUT_RDWR)
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()
        self._server.end_tunnels()


class _ProxyServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, target: TunnelTarget, port: int) -> None:
        super().__init__(("127.0.0.1", port), _ProxyHandler)
        self.target = target
        self.rejection: int | None = None
        self.tunnels: list[Tunnel] = []
        self.sockets: set[socket.socket] = set()
        self.lock = threading.Lock()

    def end_tunnels(self) -> None:
        with self.lock:
            sockets = list(self.sockets)
        for each in sockets:
            _shut(each)


class _ProxyHandler(socketserver.BaseRequestHandler):
    server: _ProxyServer

    def handle(self) -> None:
        client: socket.socket = self.request
        with self._kept(client):
            client.settimeout(_HEAD_SECONDS)
            with contextlib.suppress(OSError):
                self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        head, early = _read_head(client)
        method, _, rest = head.partition(" ")
        host, _, port = rest.partition(" ")[0].rpartition(":")
        if method != "CONNECT" or not port.isdecimal():
            self._respond(client, Tunnel(rest.partition(" ")[0], 0, 400), "Bad Request")
            return
        target = host.strip("[]").lower(), int(port)
        if self.server.rejection is not None:
            self._respond(client, Tunnel(*target, self.server.rejection), "Rejected")
            return
        loopback_port = self.server.target(*target)
        if loopback_port is None:
            self._respond(client, Tunnel(*target, 403), "Forbidden")
            return
        try:
            upstream = socket.create_connection(("127.0.0.1", loopback_port), _HEAD_SECONDS)
        except OSError:
            self._respond(client, Tunnel(*target, 502), "Bad Gateway")
            return
        with upstream, self._kept(upstream):
            self._respond(client, Tunnel(*target, 200), "Connection established")
            for each in (client, upstream):
                each.settimeout(None)
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            upstream.sendall(early)
            back = threading.Thread(target=_pump, args=(upstream, client), daemon=True)
            back.start()
            _pump(client, upstream)
            back.join()

    def _respond(self, client: socket.socket, tunnel: Tunnel, reason: str) -> None:
        with self.server.lock:
            self.server.tunnels.append(tunnel)
        length = "" if tunnel.status == 200 else "Content-Length: 0\r\nConnection: close\r\n"
        client.sendall(f"HTTP/1.1 {tunnel.status} {reason}\r\n{length}\r\n".encode())

    @contextlib.contextmanager
    def _kept(self, each: socket.socket) -> Iterator[None]:
        with self.server.lock:
            self.server.sockets.add(each)
        try:
            yield
        finally:
            with self.server.lock:
                self.server.sockets.discard(each)


def _read_head(client: socket.socket) -> tuple[str, bytes]:
    """Return the request line and the bytes after the head."""
    received = b""
    while b"\r\n\r\n" not in received and len(received) < _HEAD_LIMIT_BYTES:
        block = client.recv(4096)
        if not block:
            break
        received += block
    head, _, early = received.partition(b"\r\n\r\n")
    return head.partition(b"\r\n")[0].decode("latin-1"), early


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Forward bytes until one side ends, then end the reading of the other side."""
    block = memoryview(bytearray(_BLOCK_BYTES))
    with contextlib.suppress(OSError):
        while count := source.recv_into(block):
            target.sendall(block[:count])
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _shut(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
