"""Request bodies of a connection (RFC 9112, sections 6 and 7)."""

from __future__ import annotations

import io
from collections.abc import Callable

from local.web.messages import BLOCK_BYTES, AbortedBodyError

_LINE_LIMIT_BYTES = 8192


class ConnectionBody:
    """A body framed by Content-Length or, when that is None, by the chunked transfer coding.

    `before_first_read` is called once, just before the connection is read: the moment at which a
    client that sent `Expect: 100-continue` must receive `100 Continue`.
    """

    def __init__(
        self,
        stream: io.BufferedReader,
        content_length: int | None,
        before_first_read: Callable[[], None] | None = None,
    ) -> None:
        self.content_length = content_length
        self._stream = stream
        self._chunked = content_length is None
        self._left_bytes = content_length or 0
        self._before_first_read = before_first_read
        self._first_chunk = True
        self.finished = content_length == 0
        self.received_bytes = 0

    @property
    def awaited(self) -> bool:
        """Whether the client waits for 100 Continue."""
        return self._before_first_read is not None

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill some of `buffer`; see `Body.readinto`."""
        if self.finished:
            return 0
        if self._before_first_read is not None:
            self._before_first_read()
            self._before_first_read = None
        if self._chunked and self._left_bytes == 0:
            self._start_chunk()
            if self.finished:
                return 0
        try:
            count = self._stream.readinto1(buffer[: self._left_bytes])
        except OSError as error:
            raise AbortedBodyError(str(error)) from error
        if count == 0:
            message = f"the connection ended after {self.received_bytes} bytes of the body"
            raise AbortedBodyError(message)
        self.received_bytes += count
        self._left_bytes -= count
        if self._left_bytes == 0 and not self._chunked:
            self.finished = True
        return count

    def discard(self, limit_bytes: int) -> bool:
        """Discard the rest if it has at most `limit_bytes`, and return whether it had."""
        if self.awaited or (not self._chunked and self._left_bytes > limit_bytes):
            return self.finished
        block = memoryview(bytearray(min(BLOCK_BYTES, limit_bytes)))
        discarded = 0
        try:
            while discarded <= limit_bytes and (count := self.readinto(block)):
                discarded += count
        except AbortedBodyError:
            return False
        return self.finished

    def _start_chunk(self) -> None:
        if not self._first_chunk and self._read_line():
            message = "a chunk does not end where its size says"
            raise AbortedBodyError(message)
        self._first_chunk = False
        size = self._read_line().partition(b";")[0].strip()
        try:
            self._left_bytes = int(size, 16)
        except ValueError as error:
            message = f"not the size of a chunk: {size[:20]!r}"
            raise AbortedBodyError(message) from error
        if self._left_bytes == 0:
            while self._read_line():
                pass  # trailers are not used
            self.finished = True

    def _read_line(self) -> bytes:
        try:
            line = self._stream.readline(_LINE_LIMIT_BYTES)
        except OSError as error:
            raise AbortedBodyError(str(error)) from error
        if not line.endswith(b"\n"):
            message = "the connection ended in the chunked encoding"
            raise AbortedBodyError(message)
        return line.rstrip(b"\r\n")
