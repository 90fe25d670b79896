"""Blobs behind presigned URLs of another origin, as in registries with object storage."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Literal
from urllib.parse import quote, urlencode

from local.registry.blob_responses import serve_blob
from local.registry.store import Store
from local.web import Request, Response, s3_error

BlobRedirects = Literal["absolute", "network-path", "path"]
"""The form of the storage's Location: `http://host:port/…`, `//host:port/…` or `/…`.

The first two are another origin, which rejects Authorization; with `path` the registry's own
origin serves the signed URL and ignores Authorization.
"""

_PREFIX = "/signed-blobs/"
_LIFETIME_SECONDS = 3600


class SignedBlobStorage:
    """Creates signed URLs of blobs, and serves them.

    `clock` returns seconds. A URL is valid for an hour. `prefix` is the start of each path.
    """

    def __init__(
        self,
        store: Store,
        *,
        rejects_authorization: bool = True,
        prefix: str = _PREFIX,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._rejects_authorization = rejects_authorization
        self._prefix = prefix
        self._clock = clock
        self._key = secrets.token_bytes(32)

    def location(self, origin: str, repository: str, digest: str) -> str:
        """Return the signed URL of a repository's blob.

        `origin` is put before its path: scheme and authority, `//` and authority, or nothing.
        """
        path = f"{self._prefix}{repository}/{digest}"
        expires = str(int(self._clock()) + _LIFETIME_SECONDS)
        query = urlencode({"X-Expires": expires, "X-Signature": self._signature(path, expires)})
        return f"{origin}{quote(path)}?{query}"

    def serves(self, request: Request) -> bool:
        """Return whether a request is for this storage."""
        return request.path.startswith(self._prefix)

    def handle(self, request: Request) -> Response:
        """Serve a signed URL: 200, 206 or 416; 400 with Authorization; 403 not signed; 404."""
        if self._rejects_authorization and "authorization" in request.headers:
            return s3_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        if not self.serves(request) or request.method not in {"GET", "HEAD"}:
            return s3_error(404, "NoSuchKey", "The specified key does not exist.")
        expires = request.parameter("X-Expires") or ""
        signature = request.parameter("X-Signature") or ""
        expected = self._signature(request.path, expires)
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            return s3_error(403, "SignatureDoesNotMatch", "The signature does not match.")
        if self._clock() > int(expires):
            return s3_error(403, "AccessDenied", "Request has expired")
        repository, _, digest = request.path.removeprefix(self._prefix).rpartition("/")
        blob = self._store.find_blob(repository, digest)
        if blob is None:
            return s3_error(404, "NoSuchKey", "The specified key does not exist.")
        served = serve_blob(blob, request.headers.get("range"))
        # object storage has no headers of registries
        kept = {k: v for k, v in served.headers.items() if k != "Docker-Content-Digest"}
        return Response(served.status, kept, served.body)

    def _signature(self, path: str, expires: str) -> str:
        return hmac.new(self._key, f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()
