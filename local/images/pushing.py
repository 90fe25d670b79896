"""Pushes content to a registry with the plain distribution protocol."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote, urljoin, urlsplit

from local.images.manifests import Content, Index
from local.registry.digests import Digest


class PushError(RuntimeError):
    """A registry rejected a push."""


def push(
    content: Content,
    host: str,
    repository: str,
    tag: str | None = None,
    scheme: Literal["http", "https"] = "http",
    authorization: str | None = None,
    *,
    context: ssl.SSLContext | None = None,
) -> Digest:
    """Push an image or index with all its content and return its digest.

    Existing blobs are not pushed again. Without a tag the manifest is pushed by digest.
    `authorization` is a whole header value; `context` is for https.

    Raises
    ------
    PushError
        The registry responded with an unexpected status.
    OSError
        The connection failed.
    """
    connection = (
        http.client.HTTPSConnection(host, context=context)
        if scheme == "https"
        else http.client.HTTPConnection(host)
    )
    headers = {"Authorization": authorization} if authorization else {}
    try:
        _Push(connection, repository, headers).run(content, tag)
    finally:
        connection.close()
    return content.digest


class _Push:
    def __init__(
        self,
        connection: http.client.HTTPConnection,
        repository: str,
        headers: Mapping[str, str],
    ) -> None:
        self._connection = connection
        self._repository = repository
        self._headers = headers

    def run(self, content: Content, tag: str | None) -> None:
        if isinstance(content, Index):
            for image in content.images:
                self.run(image, None)
        else:
            for digest, blob in content.blobs.items():
                self._push_blob(digest, blob)
        path = f"/v2/{self._repository}/manifests/{tag or content.digest}"
        media_type = {"Content-Type": content.media_type}
        self._request("PUT", path, {201}, content.manifest, media_type)

    def _push_blob(self, digest: Digest, blob: bytes) -> None:
        status, _ = self._request("HEAD", f"/v2/{self._repository}/blobs/{digest}", {200, 404})
        if status == 200:
            return
        start = f"/v2/{self._repository}/blobs/uploads/"
        _, location = self._request("POST", start, {202})
        parts = urlsplit(urljoin(start, location))
        query = f"{parts.query}&" if parts.query else ""
        target = f"{parts.path}?{query}digest={quote(digest, safe='')}"
        media_type = {"Content-Type": "application/octet-stream"}
        self._request("PUT", target, {201}, blob, media_type)

    def _request(
        self,
        method: str,
        path: str,
        expected: set[int],
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        self._connection.request(method, path, body, {**self._headers, **(headers or {})})
        response = self._connection.getresponse()
        content = response.read()
        if response.status not in expected:
            message = f"{method} {path}: {response.status} {content[:500]!r}"
            raise PushError(message)
        return response.status, response.headers.get("Location", "")
