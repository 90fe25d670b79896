"""Heads of responses, taken only when they are whole, well-formed and of a sensible size.

`http.client` takes a connection that ends in the middle of the headers for the end of the headers:
a Location cut short would be followed, a missing Content-Length would make the body empty. It also
takes what follows a malformed line for no header at all, has the lines parsed as those of mail, at
a seventh of all that a small request costs, and takes early hints for the answer.
"""

from __future__ import annotations

import http
import http.client
import re
from typing import Any, Final

#: Many times what any registry or storage sends.
MAX_HEAD_BYTES: Final = 256 * 1024
_MAX_LINE_BYTES: Final = 64 * 1024
_MAX_FIELDS: Final = 100
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
#: RFC 9110, section 5.6.2.
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BODILESS: Final = frozenset(
    {
        http.HTTPStatus.SWITCHING_PROTOCOLS,
        http.HTTPStatus.NO_CONTENT,
        http.HTTPStatus.NOT_MODIFIED,
    }
)


class OversizedHeadError(http.client.HTTPException):
    """The status line and headers, interim responses included, are longer than makes sense."""


class MalformedHeadError(http.client.HTTPException):
    """A line of the head is no header, or its lengths are none or several."""


class WholeHeadResponse(http.client.HTTPResponse):
    """A response whose head came to its end (RFC 9112, sections 4 to 6)."""

    # what http.client's other methods read
    status: int
    version: int
    length: int | None
    will_close: bool

    def begin(self) -> None:
        """Read the head, past interim responses.

        Raises
        ------
        OversizedHeadError
            It is too long, or goes on and on.
        MalformedHeadError, http.client.BadStatusLine, http.client.UnknownProtocol
            It is not HTTP/1.0 or 1.1.
        http.client.IncompleteRead
            The connection ended within it.
        """
        stream: Any = self.fp
        lines: Any = _Lines(stream)
        self.fp = lines
        try:
            while self._begins_interim():
                lines.read_fields()
            self.headers = self.msg = lines.read_fields()
        finally:
            if self.fp is lines:
                self.fp = stream
        self._frame_body()

    def _begins_interim(self) -> bool:
        """Read a status line, and tell whether another one is to follow."""
        version, self.status, reason = self._read_status()  # type: ignore[attr-defined]
        if not version.startswith("HTTP/1."):
            raise http.client.UnknownProtocol(version)
        self.code = self.status
        self.reason = reason.strip()
        self.version = 10 if version == "HTTP/1.0" else 11
        return 100 <= self.status < 200 and self.status != http.HTTPStatus.SWITCHING_PROTOCOLS

    def _frame_body(self) -> None:
        """Find out where the body ends (RFC 9112, section 6.3)."""
        self.chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        self.length = None if self.chunked else self._announced_length()
        if self._method == "HEAD" or self.status in _BODILESS:  # type: ignore[attr-defined]
            self.length = 0
        is_last = self._check_close()  # type: ignore[attr-defined]
        self.will_close = is_last or (self.length is None and not self.chunked)

    def _announced_length(self) -> int | None:
        values = ",".join(self.headers.get_all("content-length", ())).split(",")
        length, *others = {each.strip() for each in values}
        if not length and not others:
            return None
        if others or not _LENGTH.fullmatch(length):
            raise MalformedHeadError("lengths")
        return int(length)


class _Lines:
    """Lines as they are read, counted."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._left_bytes = MAX_HEAD_BYTES

    def readline(self, limit: int = _MAX_LINE_BYTES) -> bytes:
        line: bytes = self._stream.readline(limit)
        self._left_bytes -= len(line)
        if self._left_bytes < 0 or (len(line) == limit and not line.endswith(b"\n")):
            raise OversizedHeadError(f"more than {MAX_HEAD_BYTES} bytes")
        return line

    def read_fields(self) -> http.client.HTTPMessage:
        """Read header fields and the empty line after them (RFC 9112, section 5)."""
        fields: list[tuple[str, str]] = []
        while (line := self.readline()) not in {b"\r\n", b"\n"}:
            if not line.endswith(b"\n"):
                raise http.client.IncompleteRead(b"")
            text = line.decode("iso-8859-1")
            name, colon, value = text.partition(":")
            if text[0] in " \t" and fields:  # a value that goes on
                name, begun = fields.pop()
                value = f"{begun} {text.strip()}"
            elif not colon or not _TOKEN.fullmatch(name):
                raise MalformedHeadError("a line is no header")
            fields.append((name, value.strip()))
            if len(fields) > _MAX_FIELDS:
                raise OversizedHeadError(f"more than {_MAX_FIELDS} headers")
        message = http.client.HTTPMessage()
        for name, value in fields:
            message[name] = value
        return message

    def close(self) -> None:
        self._stream.close()

    def flush(self) -> None:
        self._stream.flush()
