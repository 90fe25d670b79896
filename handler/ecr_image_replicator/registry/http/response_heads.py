"""Heads of responses: accepted only when they are complete, well-formed and of limited size.

`http.client` treats a connection that is closed within the headers as the end of the headers: a
truncated Location would be followed, a missing Content-Length would make the body empty. It also
ignores the headers after a malformed line, returns 103 Early Hints as the response, and parses the
lines with the parser of `email`, which takes a seventh of the instructions of a small request.
"""

from __future__ import annotations

import http
import http.client
import re
from typing import Any, Final

#: Registries and storage services send less than 16 KiB.
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
    """The status line and headers, with those of interim responses, exceed their limits."""


class MalformedHeadError(http.client.HTTPException):
    """A line is not a header, or Content-Length is invalid or ambiguous."""


class WholeHeadResponse(http.client.HTTPResponse):
    """A response whose head is complete (RFC 9112, sections 4 to 6)."""

    # read by other methods of http.client
    status: int
    version: int
    length: int | None
    will_close: bool

    def begin(self) -> None:
        """Read the head; skip interim responses.

        Raises
        ------
        OversizedHeadError
            The head is too long, or has too many headers.
        MalformedHeadError, http.client.BadStatusLine, http.client.UnknownProtocol
            The response is not HTTP/1.0 or HTTP/1.1.
        http.client.IncompleteRead
            The connection was closed within the head.
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
        """Read a status line; return whether the response is an interim one."""
        version, self.status, reason = self._read_status()  # type: ignore[attr-defined]
        if not version.startswith("HTTP/1."):
            raise http.client.UnknownProtocol(version)
        self.code = self.status
        self.reason = reason.strip()
        self.version = 10 if version == "HTTP/1.0" else 11
        return 100 <= self.status < 200 and self.status != http.HTTPStatus.SWITCHING_PROTOCOLS

    def _frame_body(self) -> None:
        """Determine how the body ends (RFC 9112, section 6.3)."""
        self.chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        self.length = None if self.chunked else self._announced_length()
        if self._method == "HEAD" or self.status in _BODILESS:  # type: ignore[attr-defined]
            self.length = 0
        is_last = self._check_close()  # type: ignore[attr-defined]
        self.will_close = is_last or (self.length is None and not self.chunked)

    def _read_and_discard_trailer(self) -> None:
        """Skip the trailer of a chunked body, which has the limit of a head."""
        lines = _Lines(self.fp)
        while lines.readline() not in {b"\r\n", b"\n", b""}:
            pass

    def _announced_length(self) -> int | None:
        values = ",".join(self.headers.get_all("content-length", ())).split(",")
        length, *others = {each.strip() for each in values}
        if not length and not others:
            return None
        if others or not _LENGTH.fullmatch(length):
            raise MalformedHeadError("lengths")
        return int(length)


class _Lines:
    """The lines of a head or a trailer, with a limit for all of them together."""

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
            if text[0] in " \t" and fields:  # a folded value (RFC 9112, section 5.2)
                name, begun = fields.pop()
                value = f"{begun} {text.strip()}"
            elif not colon or not _TOKEN.fullmatch(name):
                raise MalformedHeadError("not a header")
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
