"""Requests for the blobs of a repository (OCI distribution specification 1.1, "Pull")."""

from __future__ import annotations

import itertools
import logging
import re
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import (
    DigestMismatchError,
    ProtocolError,
    ReplicationError,
    Side,
    TransientError,
)
from ecr_image_replicator.model.ecr_hosts import parse_ecr_host
from ecr_image_replicator.registry.client import RETRY_429_ONLY
from ecr_image_replicator.registry.error_responses import blob_not_found_error, is_not_found
from ecr_image_replicator.registry.http.encodings import encoding_error, has_coding
from ecr_image_replicator.registry.manifest_responses import is_success
from ecr_image_replicator.retries import retries_exhausted

if TYPE_CHECKING:
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.registry.client import RegistryClient
    from ecr_image_replicator.registry.http.messages import StreamedResponse
    from ecr_image_replicator.retries import Backoff

_LOGGER: Final = logging.getLogger(__name__)
_CONTENT_RANGE: Final = r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)"
#: Of a GET, with the blob or the part that was requested; others have no content by definition.
_WITH_BLOB: Final = frozenset(range(200, 300)) - {202, 204, 205}
#: Statuses of a storage whose signed URL has expired.
_EXPIRED_STATUSES: Final = frozenset({400, 401, 403})


def has_blob(client: RegistryClient, reference: ImageReference, digest: Digest) -> bool:
    """Send a HEAD for a blob of the reference's repository; where that fails, a GET of one byte."""
    operation = f"look for blob {digest} in {reference.name}"
    target = f"/v2/{reference.repository}/blobs/{digest}"
    response = client.request("HEAD", target, operation, retry_statuses=RETRY_429_ONLY)
    if is_success(response) or response.status == 404:
        return response.status != 404
    if response.status == 401:
        raise client.error(response, operation)
    if response.status == 403 and parse_ecr_host(client.registry) is not None:
        return False  # ecr:BatchCheckLayerAvailability is denied: a push finds out
    opened = client.open(target, operation, {"Range": "bytes=0-0"})
    opened.close()
    # 416: the blob is there, and empty
    return opened.status in {*_WITH_BLOB, 416}


class BlobRequests:
    """Requests for blobs and parts of blobs.

    Parameters
    ----------
    reference
        Names the repository.
    client
        Of the reference's registry.
    backoff
        For downloads that break off.
    """

    def __init__(self, reference: ImageReference, client: RegistryClient, backoff: Backoff) -> None:
        self._reference = reference
        self._client = client
        self._backoff = backoff

    @property
    def registry(self) -> str:
        """The registry's host, for errors."""
        return self._reference.registry

    def operation(self, descriptor: Descriptor) -> str:
        """Return what reading a blob is called in errors."""
        return f"pull blob {descriptor.digest} of {self._reference.name}"

    def open(self, descriptor: Descriptor, offset: int, end: int | None = None) -> StreamedResponse:
        """Request a blob's bytes from an offset on; the response is positioned at that byte.

        Parameters
        ----------
        end
            The first byte that is not wanted; None for all.

        Raises
        ------
        DigestMismatchError
            The registry announces another length than the manifest does.
        ProtocolError
            It returns another range.
        NotFoundError, DeniedError, RegistryError
            It rejects the request.
        """
        operation = self.operation(descriptor)
        response = self._get_permitted(descriptor, offset, end, operation)
        is_elsewhere = not self._client.is_registry_origin(response.url)
        if response.status in _EXPIRED_STATUSES and is_elsewhere:
            # signed URLs expire, at times between the redirect and the request: get another
            self._client.read_error(response)
            response = self._get(descriptor, offset, end, operation)
        if response.status not in _WITH_BLOB:
            rejection = self._client.read_error(response)
            if is_not_found(rejection) and self._client.side is Side.SOURCE:
                raise blob_not_found_error(rejection, operation)
            raise self._client.error(rejection, operation)
        start = offset if response.status == 206 else 0
        try:
            self._check_extent(response, descriptor, start, end, operation)
            _skip(response, offset - start, operation)
        except ReplicationError:
            response.close()
            raise
        return response

    def wait_after(self, attempt: int, error: TransientError) -> None:
        """Wait before a broken download resumes.

        Raises
        ------
        UnavailableError
            It broke off in every attempt.
        OutOfTimeError
            There is no time to resume.
        """
        _LOGGER.info("resuming a download: %s", error)
        if not self._backoff.wait_after(attempt, error):
            raise retries_exhausted(error, self._client.side, attempt) from error

    def _get_permitted(
        self, descriptor: Descriptor, offset: int, end: int | None, operation: str
    ) -> StreamedResponse:
        """Send the request, again while ECR's denial may be that of a new permission."""
        for denials in itertools.count(1):
            response = self._get(descriptor, offset, end, operation)
            if response.status != 403 or not self._client.is_registry_origin(response.url):
                return response
            denial = self._client.read_error(response)
            if not self._client.wait_for_permission(denials, denial, operation):
                raise self._client.error(denial, operation)
        raise AssertionError  # itertools.count has no end

    def _get(
        self, descriptor: Descriptor, offset: int, end: int | None, operation: str
    ) -> StreamedResponse:
        # a digest names one content for ever, so that no If-Range is needed
        last = "" if end is None else end - 1
        headers = {"Range": f"bytes={offset}-{last}"} if offset or end is not None else {}
        target = f"/v2/{self._reference.repository}/blobs/{descriptor.digest}"
        return self._client.open(target, operation, headers)

    def _check_extent(
        self,
        response: StreamedResponse,
        descriptor: Descriptor,
        start: int,
        end: int | None,
        operation: str,
    ) -> None:
        size = descriptor.size_bytes
        if response.status == 206:
            extent = re.fullmatch(_CONTENT_RANGE, response.header("content-range").strip())
            wanted = (str(start), str((end or size) - 1))
            if extent is None or extent[3] not in {"*", str(size)} or extent.group(1, 2) != wanted:
                raise ProtocolError(
                    f"cannot {operation}: invalid response, other bytes than requested "
                    f"({response.header('content-range')[:80]!r})",
                    side=self._client.side,
                    status=206,
                )
            size = end or size
        # repeated headers are equal here (RFC 9110, section 8.6)
        announced = response.header("content-length").partition(",")[0].strip()
        if announced and announced != str(size - start):
            if has_coding(response):
                raise encoding_error(response, self._client.side)
            raise DigestMismatchError(
                f"cannot {operation}: digest mismatch, it has {announced[:20]} bytes and the "
                f"manifest says {size - start}",
                hint="The registry's content is corrupt or was tampered with.",
            )


def _skip(response: StreamedResponse, count_bytes: int, operation: str) -> None:
    """Drop the bytes before the requested range, from a server that ignores Range."""
    buffer = memoryview(bytearray(min(count_bytes, 65536)))
    while count_bytes:
        count = response.readinto(buffer[: min(len(buffer), count_bytes)])
        if not count:
            raise TransientError(f"cannot {operation}: the connection was closed")
        count_bytes -= count
