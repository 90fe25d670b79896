"""A bucket of S3 on loopback: objects with ranges, versions and conditions.

Amazon S3 API reference, GetObject and HeadObject. Signatures are not verified. Objects are files,
so that they can have many gigabytes, and the bytes read are counted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Self
from xml.sax.saxutils import escape

from local.running import Running
from local.web import AccessLogEntry, FileSpan, LoopbackServer, Request, Response

_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)")
_MESSAGES = {
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchVersion": (404, "The specified version does not exist."),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold"),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
}

Alteration = Callable[[Request, Response], Response]
"""Replaces a response to simulate a fault."""


class ObjectStorage(Running):
    """One bucket on a loopback port, from `start` (or `with`) to `close`.

    `alteration` can be set at any time.
    """

    def __init__(self, bucket: str = "archives") -> None:
        self.bucket = bucket
        self.alteration: Alteration | None = None
        self._versions: dict[str, list[Path]] = {}
        self._server = LoopbackServer(self._respond)
        self.url = self._server.url

    def put(self, key: str, path: Path) -> str:
        """Add a file as an object or as a new version of an object, and return the version ID."""
        versions = self._versions.setdefault(key, [])
        versions.append(path)
        return f"v{len(versions)}"

    @property
    def requests(self) -> tuple[AccessLogEntry, ...]:
        """The requests, in the order of their responses."""
        return self._server.requests

    @property
    def bytes_read(self) -> int:
        """The number of bytes sent of objects."""
        return sum(entry.response_bytes for entry in self.requests if entry.status in {200, 206})

    def clear_requests(self) -> None:
        """Clear the list of requests."""
        self._server.access_log.clear()

    def start(self) -> Self:
        """Start accepting connections."""
        self._server.start()
        return self

    def close(self) -> None:
        """Stop serving."""
        self._server.close()

    def _respond(self, request: Request) -> Response:
        response = self._object(request)
        return self.alteration(request, response) if self.alteration else response

    def _object(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return error_response("MethodNotAllowed")
        bucket, _, key = request.path.lstrip("/").partition("/")
        if bucket != self.bucket:
            return error_response("NoSuchBucket")
        versions = self._versions.get(key)
        if not versions:
            return error_response("NoSuchKey")
        version = request.parameter("versionId") or f"v{len(versions)}"
        if version not in {f"v{number + 1}" for number in range(len(versions))}:
            return error_response("NoSuchVersion")
        path = versions[int(version[1:]) - 1]
        etag = f'"{hashlib.sha256(f"{path} {version}".encode()).hexdigest()[:32]}"'
        if request.headers.get("if-match", etag) != etag:
            return error_response("PreconditionFailed")
        return _served(path, request.headers.get("range", ""), etag)


def error_response(code: str, message: str = "", status: int = 0) -> Response:
    """Return an error response of S3."""
    usual_status, usual_message = _MESSAGES.get(code, (403, "Access Denied"))
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(message or usual_message)}</Message>"
        "<RequestId>R</RequestId></Error>"
    )
    return Response(
        status or usual_status, {"Content-Type": "application/xml"}, body.encode("utf-8")
    )


def _served(path: Path, range_header: str, etag: str) -> Response:
    size_bytes = path.stat().st_size
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Type": "application/x-tar"}
    wanted = _RANGE.fullmatch(range_header)
    if wanted is None:
        return Response(200, headers, FileSpan(path, 0, size_bytes))
    first = int(wanted[1])
    last = min(int(wanted[2] or size_bytes), size_bytes - 1)
    if first >= size_bytes:
        return error_response("InvalidRange")
    headers["Content-Range"] = f"bytes {first}-{last}/{size_bytes}"
    return Response(206, headers, FileSpan(path, first, last - first + 1))
