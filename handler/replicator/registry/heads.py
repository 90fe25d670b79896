"""Heads of responses, taken only when they are whole and of a sensible size.

`http.client` takes a connection that ends in the middle of the headers for the end of the headers:
a Location cut short would be followed, a missing Content-Length would make the body empty.
"""

from __future__ import annotations

import http.client
from typing import Any, Final

#: Many times what any registry or storage sends.
MAX_HEAD_BYTES: Final = 256 * 1024


class OutsizeHeadError(http.client.HTTPException):
    """The status line and headers, interim responses included, are longer than makes sense."""


class WholeHeadResponse(http.client.HTTPResponse):
    """A response whose head came to its end."""

    def begin(self) -> None:
        """Read the head.

        Raises
        ------
        OutsizeHeadError
            It is too long, or goes on and on.
        http.client.IncompleteRead
            The connection ended within it.
        """
        stream: Any = self.fp
        lines: Any = _Lines(stream)
        self.fp = lines
        try:
            super().begin()
        finally:
            if self.fp is lines:
                self.fp = stream
        if lines.last not in {b"\r\n", b"\n"}:
            raise http.client.IncompleteRead(b"")


class _Lines:
    """Lines as they are read, counted."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._left_bytes = MAX_HEAD_BYTES
        self.last = b""

    def readline(self, limit: int) -> bytes:
        self.last = self._stream.readline(limit)
        self._left_bytes -= len(self.last)
        if self._left_bytes < 0:
            raise OutsizeHeadError(f"more than {MAX_HEAD_BYTES} bytes")
        return self.last

    def close(self) -> None:
        self._stream.close()

    def flush(self) -> None:
        self._stream.flush()
