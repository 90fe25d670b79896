"""``python -m benchmarks.zeros PORT RATE BYTES ...``: a registry whose blobs are zeros.

``zeros-BYTES:latest`` is an image of one layer of this many zeros, which are generated. Pushed
content is hashed, compared with its digest and dropped. A connection sends at most `RATE` bytes
per second, like those of object stores; 0 is unlimited.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, cast
from urllib.parse import parse_qs, urlsplit

_BLOCK: Final = memoryview(bytes(1024 * 1024))
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)")
_CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
_CONFIG: Final = b'{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}'


class ZeroRegistry(ThreadingHTTPServer):
    """A registry server with an image for each size."""

    daemon_threads = True

    def __init__(self, port: int, sizes_bytes: list[int], *, bytes_per_second: float = 0.0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.bytes_per_second = bytes_per_second
        #: The Range headers of blob requests, "" for a whole blob.
        self.ranges: list[str] = []
        self.blobs = {digest_of_zeros(size): size for size in sizes_bytes}
        self.manifests = {
            f"zeros-{size}": _manifest(digest, size) for digest, size in self.blobs.items()
        }

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that close the connection early."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def digest_of_zeros(size_bytes: int) -> str:
    """Return the digest of that many zeros."""
    hasher = hashlib.sha256()
    for start in range(0, size_bytes, len(_BLOCK)):
        hasher.update(_BLOCK[: size_bytes - start])
    return f"sha256:{hasher.hexdigest()}"


def _manifest(digest: str, size_bytes: int) -> bytes:
    config = f"sha256:{hashlib.sha256(_CONFIG).hexdigest()}"
    document = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": {"mediaType": _CONFIG_TYPE, "digest": config, "size": len(_CONFIG)},
        "layers": [{"mediaType": _LAYER, "digest": digest, "size": size_bytes}],
    }
    return json.dumps(document).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._take()
        self._respond(202, {"Location": f"{self.path}session?state=1"})

    def do_PUT(self) -> None:
        digest = self._take()
        expected = parse_qs(urlsplit(self.path).query).get("digest", [digest])[0]
        self._respond(201 if digest == expected else 400, {"Docker-Content-Digest": digest})

    def do_DELETE(self) -> None:
        self._respond(204, {})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Log nothing."""

    def _serve(self) -> None:
        registry = cast("ZeroRegistry", self.server)
        _, _, repository, kind, reference, *_ = [*self.path.split("/"), "", "", ""]
        content, size_bytes, media_type = b"", 0, "application/octet-stream"
        if kind == "manifests" and repository in registry.manifests:
            content, media_type = registry.manifests[repository], _MANIFEST
        elif kind == "blobs" and reference in registry.blobs:
            size_bytes = registry.blobs[reference]
        elif kind == "blobs" and reference == f"sha256:{hashlib.sha256(_CONFIG).hexdigest()}":
            content = _CONFIG
        elif self.path != "/v2/":
            self._respond(404, {})
            return
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}" if content else reference
        headers = {"Content-Type": media_type, "Docker-Content-Digest": digest}
        if size_bytes:
            self._serve_zeros(registry, headers, size_bytes)
            return
        self._respond(200, headers, len(content))
        if self.command == "GET":
            self.wfile.write(content)

    def _serve_zeros(
        self, registry: ZeroRegistry, headers: dict[str, str], size_bytes: int
    ) -> None:
        headers["Accept-Ranges"] = "bytes"
        asked = self.headers.get("Range", "")
        registry.ranges.append(asked)
        status, left = 200, size_bytes
        if wanted := _RANGE.fullmatch(asked):
            first, last = int(wanted[1]), int(wanted[2] or size_bytes - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{size_bytes}"
            status, left = 206, last - first + 1
        self._respond(status, headers, left)
        began_at, sent = time.monotonic(), 0
        while self.command == "GET" and sent < left:
            sent += self.wfile.write(_BLOCK[: left - sent])
            if registry.bytes_per_second:
                due = began_at + sent / registry.bytes_per_second
                time.sleep(max(0.0, due - time.monotonic()))

    def _take(self) -> str:
        hasher = hashlib.sha256()
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            content = self.rfile.read1(min(left, len(_BLOCK)))
            if not content:
                raise ConnectionResetError
            hasher.update(content)
            left -= len(content)
        return f"sha256:{hasher.hexdigest()}"

    def _respond(self, status: int, headers: dict[str, str], size_bytes: int = 0) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(size_bytes))
        self.end_headers()


def main(arguments: list[str]) -> None:
    """Serve until killed."""
    port, bytes_per_second, *sizes = map(int, arguments)
    ZeroRegistry(port, sizes, bytes_per_second=bytes_per_second).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
