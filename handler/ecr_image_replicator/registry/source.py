"""A registry's repository as the source of an image.

OCI distribution specification 1.1, "Pull".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import DigestMismatchError, ProtocolError
from ecr_image_replicator.model.ecr_hosts import parse_ecr_host
from ecr_image_replicator.registry.blobs import BlobRequests
from ecr_image_replicator.registry.client import RETRY_429_ONLY
from ecr_image_replicator.registry.downloads import Downloads
from ecr_image_replicator.registry.manifest_responses import (
    announced_digest,
    get_manifest,
    has_manifest,
    head_manifest,
    is_success,
    read_manifest,
)
from ecr_image_replicator.registry.pull_limits import log_pull_limit
from ecr_image_replicator.registry.referrers import RegistryReferrers
from ecr_image_replicator.retries import RETRYABLE_STATUSES

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ecr_image_replicator.model.digests import ByteReader, Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.registry.client import RegistryClient
    from ecr_image_replicator.registry.http.messages import HttpResponse
    from ecr_image_replicator.retries import Backoff

#: A 500 for a manifest by its digest may be permanent where its tag can be read.
_RETRIED_BEFORE_TAG: Final = RETRYABLE_STATUSES - {500}


class RegistrySource:
    """An image in a registry.

    Parameters
    ----------
    reference
        Of the image.
    client
        Of the reference's registry.
    backoff
        For downloads that break off.
    """

    def __init__(self, reference: ImageReference, client: RegistryClient, backoff: Backoff) -> None:
        self._reference = reference
        self._client = client
        self._downloads = Downloads(BlobRequests(reference, client, backoff))
        #: The digest that the tag points at, once the registry has sent it.
        self._tagged: Digest | None = None

    @property
    def referrers(self) -> RegistryReferrers:
        """The referrers of this repository's images."""
        is_ecr = parse_ecr_host(self._reference.registry) is not None
        return RegistryReferrers(self._reference, self._client, forbidden_is_missing=not is_ecr)

    def find_digest(self) -> Digest | None:
        """Send a HEAD, which counts against no pull limit; None where only a GET can tell."""
        operation = f"pull {self._reference}"
        response = head_manifest(
            self._client, self._reference.repository, self._reference.selector, operation
        )
        log_pull_limit(response, self._reference.registry)
        if response.status == 401:
            raise self._client.error(response, operation)
        if not is_success(response):
            # some registries have no HEAD, and the response to the GET names the reason
            return None
        digest, pinned = announced_digest(response), self._reference.digest
        if pinned is None:
            self._tagged = digest
            return digest
        if digest is None or digest.algorithm != pinned.algorithm or digest == pinned:
            return pinned
        raise ProtocolError(
            f"cannot {operation}: invalid response, the registry returned {digest}",
            side=self._client.side,
            status=response.status,
        )

    def fetch_manifest(self, digest: Digest | None = None) -> Manifest:
        """Read a manifest of at most 4 MiB, by its digest or, without one, the image's own.

        Where the image's manifest cannot be read by its digest, it is read by the tag and
        verified (zuul-registry responds 500 to manifests without ``mediaType``).
        """
        wanted = digest or self._reference.digest
        name = f"{self._reference.name}@{digest}" if digest else str(self._reference)
        operation = f"pull {name}"
        if wanted is None:
            return self._read(self._get(self._reference.tag, operation), None, operation)
        if not self._reference.tag or self._tagged not in {None, wanted}:
            return self._read(self._get(str(wanted), operation), wanted, operation)
        response = self._get(str(wanted), operation, retry_statuses=_RETRIED_BEFORE_TAG)
        if has_manifest(response) or response.status in {401, 403}:
            return self._read(response, wanted, operation)
        manifest = self._read_tagged(wanted, operation)
        if manifest is not None:
            return manifest
        if response.status in RETRYABLE_STATUSES:
            response = self._get(str(wanted), operation)
        return self._read(response, wanted, operation)

    def expect_blobs(self, count: int) -> None:
        """Open connections in the background while uploads are opened."""
        self._client.preconnect(count)

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[ByteReader]:
        """Read a blob; a download that breaks off resumes after the last byte received."""
        return self._downloads.open(descriptor)

    def _get(
        self, selector: str, operation: str, *, retry_statuses: frozenset[int] = RETRYABLE_STATUSES
    ) -> HttpResponse:
        response = get_manifest(
            self._client,
            self._reference.repository,
            selector,
            operation,
            retry_statuses=retry_statuses,
        )
        log_pull_limit(response, self._reference.registry)
        return response

    def _read(self, response: HttpResponse, wanted: Digest | None, operation: str) -> Manifest:
        if not has_manifest(response):
            raise self._client.error(response, operation)
        return read_manifest(response, wanted, operation, self._client)

    def _read_tagged(self, wanted: Digest, operation: str) -> Manifest | None:
        """Read the tag's manifest; None when it cannot be read or is another one."""
        response = self._get(self._reference.tag, operation, retry_statuses=RETRY_429_ONLY)
        if not has_manifest(response):
            return None
        try:
            return read_manifest(response, wanted, operation, self._client)
        except DigestMismatchError:
            return None
