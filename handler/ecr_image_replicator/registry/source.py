"""A registry's repository as the source of an image.

OCI distribution specification 1.1, "Pull".
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import (
    DigestMismatchError,
    ProtocolError,
    ReplicationError,
    TransientError,
)
from ecr_image_replicator.model.manifests import MAX_MANIFEST_BYTES
from ecr_image_replicator.registry.downloads import Downloads
from ecr_image_replicator.registry.error_responses import retries_exhausted
from ecr_image_replicator.registry.manifest_responses import (
    ACCEPT_MANIFESTS,
    announced_digest,
    read_manifest,
)
from ecr_image_replicator.registry.pull_limits import log_pull_limit
from ecr_image_replicator.registry.referrers import RegistryReferrers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecr_image_replicator.model.digests import ByteReader, Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.registry.client import RegistryClient
    from ecr_image_replicator.registry.http.messages import StreamedResponse
    from ecr_image_replicator.retries import Backoff

_LOGGER: Final = logging.getLogger(__name__)
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")
#: What a storage answers when the URL that the registry had signed for it has run out.
_EXPIRED_STATUSES: Final = frozenset({400, 401, 403})


class RegistrySource:
    """An image in a registry.

    Parameters
    ----------
    reference
        What the stack named.
    client
        Of the reference's registry.
    backoff
        For downloads that break off.
    """

    def __init__(self, reference: ImageReference, client: RegistryClient, backoff: Backoff) -> None:
        self._reference = reference
        self._client = client
        self._backoff = backoff
        self._path = f"/v2/{reference.repository}"
        self._downloads = Downloads(self)

    @property
    def referrers(self) -> RegistryReferrers:
        """What refers to images of this repository."""
        return RegistryReferrers(self._reference, self._client)

    def find_digest(self) -> Digest | None:
        """Ask with a HEAD, which counts against no pull limit."""
        answer = self._client.request(
            "HEAD",
            f"{self._path}/manifests/{self._reference.selector}",
            headers={"Accept": ACCEPT_MANIFESTS},
        )
        log_pull_limit(answer, self._reference.registry)
        if answer.status == 200:
            digest = announced_digest(answer)
            pinned = self._reference.digest
            if pinned is None or digest is None or digest == pinned:
                return digest or pinned
            if digest.algorithm == pinned.algorithm:
                raise ProtocolError(
                    f"asked for {self._reference}, the source answered with {digest}",
                    side=self._client.side,
                    status=200,
                )
            return pinned  # its own name for it; what it gives is held to ours
        if answer.status == 403:
            # a HEAD has no body: a GET brings the reason
            return self.fetch_manifest().digest
        if answer.status in {404, 405}:
            # as above, and the GET that follows works all the same where HEADs do not
            return None
        raise self._client.error_from_response(answer, "show", str(self._reference))

    def fetch_manifest(self, digest: Digest | None = None) -> Manifest:
        """Read a manifest of at most 4 MiB."""
        wanted = digest or self._reference.digest
        selector = str(wanted) if wanted else self._reference.selector
        answer = self._client.request(
            "GET",
            f"{self._path}/manifests/{selector}",
            headers={"Accept": ACCEPT_MANIFESTS},
            limit_bytes=MAX_MANIFEST_BYTES,
        )
        log_pull_limit(answer, self._reference.registry)
        subject = f"{self._reference.name}@{digest}" if digest else str(self._reference)
        if answer.status != 200:
            raise self._client.error_from_response(answer, "give", subject)
        return read_manifest(answer, wanted, self._reference.registry)

    def expect_blobs(self, count: int) -> None:
        """Open connections while uploads are asked for."""
        self._client.preconnect(count)

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[ByteReader]:
        """Read a blob; a download that breaks off goes on after the last byte that came."""
        with self._downloads.open(descriptor) as reader:
            yield reader

    def request_blob(
        self, descriptor: Descriptor, offset: int, end: int | None = None
    ) -> StreamedResponse:
        """Ask for a blob's bytes from an offset on; the response stands at that byte.

        Parameters
        ----------
        end
            The first byte that is not wanted any more; None for all.

        Raises
        ------
        DigestMismatchError
            The source announces another length than the manifest does.
        ProtocolError
            It resumes at another byte.
        NotFoundError, DeniedError, RegistryError
            It refuses.
        """
        response = self._open(descriptor, offset, end)
        if response.status in _EXPIRED_STATUSES and not self._client.is_registry_origin(
            response.url
        ):
            # signed URLs run out, at times between the redirect and the request: ask for another
            self._client.finish(response)
            response = self._open(descriptor, offset, end)
        if response.status not in {200, 206}:
            answer = self._client.finish(response)
            subject = f"the blob {descriptor.digest} of {self._reference.name}"
            raise self._client.error_from_response(answer, "give", subject)
        start = offset if response.status == 206 else 0
        try:
            self._check_extent(response, descriptor, start, end)
            _skip(response, offset - start)
        except ReplicationError:
            response.close()
            raise
        return response

    def _open(self, descriptor: Descriptor, offset: int, end: int | None) -> StreamedResponse:
        # a digest names one content for ever, so that no If-Range is needed
        last = "" if end is None else end - 1
        headers = {"Range": f"bytes={offset}-{last}"} if offset or end is not None else {}
        return self._client.open(f"{self._path}/blobs/{descriptor.digest}", headers)

    def _check_extent(
        self, response: StreamedResponse, descriptor: Descriptor, start: int, end: int | None
    ) -> None:
        size = descriptor.size_bytes
        if response.status == 206:
            extent = _CONTENT_RANGE.fullmatch(response.header("content-range").strip())
            wanted = (str(start), str((end or size) - 1))
            if extent is None or extent[3] not in {"*", str(size)} or extent.group(1, 2) != wanted:
                raise self._misplaced()
            size = end or size
        announced = response.header("content-length")
        if announced and announced != str(size - start):
            raise DigestMismatchError(
                f"the blob {descriptor.digest} from {self._reference.registry} has {announced} "
                f"bytes where the manifest says {size - start}; the origin is "
                "corrupt or was tampered with"
            )

    def wait_after(self, attempt: int, error: TransientError) -> None:
        """Wait before a broken download goes on.

        Raises
        ------
        UnavailableError
            It broke off as often as it may.
        OutOfTimeError
            There is no time to go on.
        """
        _LOGGER.info("a download goes on where it broke off: %s", error)
        if not self._backoff.wait_after(attempt, error):
            raise retries_exhausted(error, self._client.side, attempt) from error

    def _misplaced(self) -> ProtocolError:
        return ProtocolError(
            f"{self._reference.registry} resumed a blob at other bytes than asked for",
            side=self._client.side,
            status=206,
        )


def _skip(response: StreamedResponse, count_bytes: int) -> None:
    """Drop what was already had, from a server that ignores Range."""
    buffer = memoryview(bytearray(min(count_bytes, 65536)))
    while count_bytes:
        count = response.readinto(buffer[: min(len(buffer), count_bytes)])
        if not count:
            raise TransientError("a download that had to start again broke off once more")
        count_bytes -= count
