"""Requests and responses as values, so that protocols can be tested without sockets."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs

BLOCK_BYTES = 256 * 1024
"""The size of the blocks in which bodies are read and written."""


class AbortedBodyError(ConnectionError):
    """The client disconnected, or sent invalid framing, before its request body was complete."""


class OversizedBodyError(ValueError):
    """A request body is larger than the limit for bodies in memory."""


class DroppedConnectionError(Exception):
    """Raised by an application to close the connection without a response."""


class Body(Protocol):
    """A request body as a stream; `io.BytesIO` is one."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill some of `buffer` and return the count of bytes, 0 at the end of the body.

        Raises
        ------
        AbortedBodyError
            The client disconnected before the end.
        """
        ...


@dataclass(frozen=True, slots=True)
class FileSpan:
    """A response body: `length` bytes of a file from `offset`."""

    path: Path
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are in lower case, `path` is percent-decoded.

    `content_length` is None for a body of unknown length (`Transfer-Encoding: chunked`), and
    `origin` is the scheme and authority of the request.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = field(default_factory=io.BytesIO)
    content_length: int | None = 0
    origin: str = "http://127.0.0.1"

    def parameters(self, name: str) -> tuple[str, ...]:
        """Return every value of a query parameter, in order."""
        return tuple(parse_qs(self.query, keep_blank_values=True).get(name, ()))

    def parameter(self, name: str) -> str | None:
        """Return the first value of a query parameter, or None."""
        return next(iter(self.parameters(name)), None)


@dataclass(frozen=True, slots=True)
class Response:
    """One response. The server adds Content-Length and omits the body for HEAD.

    With `drop_after_bytes` the connection is closed after this many bytes of the body,
    although Content-Length has the full size: a broken download. `promised_bytes` is the
    Content-Length of a response to HEAD without its body.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | FileSpan = b""
    drop_after_bytes: int | None = None
    promised_bytes: int | None = None

    @property
    def length(self) -> int:
        """The size of the body in bytes."""
        if self.promised_bytes is not None:
            return self.promised_bytes
        return self.body.length if isinstance(self.body, FileSpan) else len(self.body)


def s3_error(status: int, code: str, message: str) -> Response:
    """Return an error as S3 sends it (Amazon S3 API reference, "REST error responses")."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Response(status, {"Content-Type": "application/xml"}, body.encode())


def read_body(request: Request, limit_bytes: int) -> bytes:
    """Return a whole request body that is no larger than `limit_bytes`.

    Raises
    ------
    OversizedBodyError
        The body is larger. At most one block past the limit was read.
    AbortedBodyError
        The client disconnected before the end.
    """
    if request.content_length is not None and request.content_length > limit_bytes:
        message = f"the body has {request.content_length} bytes, {limit_bytes} are allowed"
        raise OversizedBodyError(message)
    content = bytearray()
    block = memoryview(bytearray(min(BLOCK_BYTES, limit_bytes + 1)))
    while count := request.body.readinto(block):
        content += block[:count]
        if len(content) > limit_bytes:
            message = f"the body has more than the {limit_bytes} bytes that are allowed"
            raise OversizedBodyError(message)
    return bytes(content)
