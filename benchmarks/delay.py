"""``python -m benchmarks.delay SECONDS LISTEN:TARGET ...``: add network delay to loopback ports.

Each byte is delayed by half a round trip, and the first bytes of a connection by a whole
one more, for the TCP handshake, which has no delay on loopback. The rate is not limited.
A single thread does all work, since several threads would take CPU time from the measured
programs.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import sys
from collections import deque
from typing import Final, cast

#: Buffer in each direction: far more than rate times delay, so that it does not limit the rate.
_MOST_BYTES: Final = 256 * 1024 * 1024


class _End(asyncio.Protocol):
    """One end of a forwarded connection. The other end sends the received bytes after the delay."""

    transport: asyncio.Transport
    other: _End

    def __init__(self, delay_seconds: float) -> None:
        self._delay_seconds = delay_seconds
        self._loop = asyncio.get_running_loop()
        self._not_before = self._loop.time() + 2 * delay_seconds
        self._under_way: deque[bytes] = deque()
        self._is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(_MOST_BYTES)

    def data_received(self, data: bytes) -> None:
        self._under_way.append(data)
        sent_at = max(self._loop.time(), self._not_before)
        self._loop.call_at(sent_at + self._delay_seconds, self._deliver)

    def eof_received(self) -> bool:
        self.data_received(b"")
        return True  # the other direction stays open

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._loop.call_later(self._delay_seconds, self.other.transport.close)

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.other.transport.resume_reading()

    def _deliver(self) -> None:
        data = self._under_way.popleft()
        if data:
            self.other.transport.write(data)
            return
        with contextlib.suppress(OSError):  # the other end can have disconnected
            self.other.transport.write_eof()
        self._is_over = True
        if self.other._is_over:  # noqa: SLF001 - its peer
            self.transport.close()


class _Entrance(_End):
    """The accepted end of a connection. The other end connects to the target."""

    def __init__(self, delay_seconds: float, target_port: int) -> None:
        super().__init__(delay_seconds)
        self._target_port = target_port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        self.other = _End(self._delay_seconds)
        self.other.other = self
        try:
            await self._loop.create_connection(lambda: self.other, "127.0.0.1", self._target_port)
        except OSError:
            self.other = self
            self.transport.abort()
        else:
            self.transport.resume_reading()


async def _forward(delay_seconds: float, listen_port: int, target_port: int) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: _Entrance(delay_seconds, target_port), "127.0.0.1", listen_port, backlog=256
    )
    await server.serve_forever()


async def _serve(arguments: list[str]) -> None:
    seconds, *ways = arguments
    ports = [map(int, way.split(":")) for way in ways]
    await asyncio.gather(*(_forward(float(seconds) / 2, *pair) for pair in ports))


def main(arguments: list[str]) -> None:
    """Serve until killed."""
    # epoll's timeout has a resolution of one millisecond
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    loop.run_until_complete(_serve(arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
