"""A blob, or a range of it, as a response (RFC 9110, section 14)."""

from __future__ import annotations

import re

from local.registry.store import Blob
from local.web import FileSpan, Response

_SINGLE_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def serve_blob(blob: Blob, range_header: str | None) -> Response:
    """Return a blob (200), one range of it (206), or 416.

    Ranges with another unit, several ranges and invalid ranges are ignored, as the RFC allows.
    """
    headers = {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": blob.digest,
        "Accept-Ranges": "bytes",
        "ETag": f'"{blob.digest}"',
    }
    wanted = _SINGLE_RANGE.fullmatch(range_header.strip()) if range_header else None
    if wanted is None or wanted.group(0) == "bytes=-":
        return Response(200, headers, FileSpan(blob.path, 0, blob.size_bytes))
    first, last = _positions(wanted.group(1), wanted.group(2), blob.size_bytes)
    if first > last or first >= blob.size_bytes:
        return Response(416, {"Content-Range": f"bytes */{blob.size_bytes}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{blob.size_bytes}"
    return Response(206, headers, FileSpan(blob.path, first, last - first + 1))


def _positions(first: str, last: str, size_bytes: int) -> tuple[int, int]:
    if not first:
        return max(0, size_bytes - int(last)), size_bytes - 1
    return int(first), min(int(last), size_bytes - 1) if last else size_bytes - 1
