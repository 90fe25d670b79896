"""``python -m benchmarks.delay SECONDS LISTEN:TARGET ...``: a longer way to ports of loopback.

Each byte arrives half a round trip after it was sent, and the first ones of a connection a whole
one later, for the handshake that a kernel does by itself on loopback. The rate is as it is without.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import sys
import threading
import time
from typing import Final

_BLOCK_BYTES: Final = 256 * 1024
#: Blocks on the way in one direction: far more than rate times delay, so that it bounds no rate.
_MOST_BLOCKS: Final = 1024
_SWITCH_SECONDS: Final = 0.0002


class DelayingProxy:
    """Forwards connections from a port of loopback to another.

    Parameters
    ----------
    round_trip_seconds
        Half of it is waited in each direction.
    listen_port, target_port
        From where to where; 0 listens on a free port.
    """

    def __init__(self, round_trip_seconds: float, listen_port: int, target_port: int) -> None:
        self._round_trip_seconds = round_trip_seconds
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", listen_port), backlog=256)
        self.port = int(self._listener.getsockname()[1])

    def run(self) -> None:
        """Forward until closed."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._connect(client)

    def close(self) -> None:
        """Take no more connections; those that are open go on until their ends close them."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        handshake_ends_at = time.monotonic() + self._round_trip_seconds
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, sink in ((client, server), (server, client)):
            _Direction(source, sink, self._round_trip_seconds / 2, handshake_ends_at).start()


class _Direction:
    """Bytes on their way from one socket to another; b"" is the end of them."""

    def __init__(
        self, source: socket.socket, sink: socket.socket, delay_seconds: float, not_before: float
    ) -> None:
        self._source = source
        self._sink = sink
        self._delay_seconds = delay_seconds
        self._not_before = not_before
        self._way: queue.Queue[tuple[float, bytes]] = queue.Queue(_MOST_BLOCKS)

    def start(self) -> None:
        for work in (self._take, self._give):
            threading.Thread(target=work, daemon=True).start()

    def _take(self) -> None:
        content = b"unknown"
        while content:
            try:
                content = self._source.recv(_BLOCK_BYTES)
            except OSError:
                content = b""
            sent_at = max(time.monotonic(), self._not_before)
            self._way.put((sent_at + self._delay_seconds, content))

    def _give(self) -> None:
        is_open = True
        while True:
            due_at, content = self._way.get()
            time.sleep(max(0.0, due_at - time.monotonic()))
            if not content:
                break
            try:
                if is_open:
                    self._sink.sendall(content)
            except OSError:
                is_open = False
                with contextlib.suppress(OSError):
                    self._source.shutdown(socket.SHUT_RD)
        with contextlib.suppress(OSError):
            self._sink.shutdown(socket.SHUT_WR)


def main(arguments: list[str]) -> None:
    """Serve until killed."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    seconds, *ways = arguments
    for way in ways:
        listen_port, _, target_port = way.partition(":")
        proxy = DelayingProxy(float(seconds), int(listen_port), int(target_port))
        threading.Thread(target=proxy.run, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
