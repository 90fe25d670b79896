"""Upload sessions (OCI distribution specification 1.1, "Pushing blobs")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import LostUploadError, ReplicationError, TransientError
from ecr_image_replicator.propagation import PendingPermissionError
from ecr_image_replicator.registry.blobs import has_blob
from ecr_image_replicator.registry.error_bodies import describe_response, error_code
from ecr_image_replicator.registry.error_responses import LOST_UPLOAD_CODES
from ecr_image_replicator.registry.manifest_responses import is_stored, is_success
from ecr_image_replicator.retries import OverloadedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ecr_image_replicator.errors import RegistryError
    from ecr_image_replicator.model.digests import Digest, VerifiedStream
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.registry.client import RegistryClient
    from ecr_image_replicator.registry.http.messages import HttpResponse
    from ecr_image_replicator.registry.http.urls import Url
    from ecr_image_replicator.registry.rate_limiter import RateLimiter

#: Codes for bytes that are not those that were sent.
_OTHER_BYTES_CODES: Final = frozenset({"DIGEST_INVALID", "SIZE_INVALID"})
_BINARY: Final = {"Content-Type": "application/octet-stream"}
#: Statuses for an upload session that is gone, or whose bytes are not those that were sent.
_LOST_STATUSES: Final = frozenset({404, 410, 416})
#: Statuses of a proxy that did not wait for the registry, which may have stored the blob.
_GATEWAY_STATUSES: Final = frozenset({502, 504, 520, 524})


class RegistryUpload:
    """An open upload session.

    Parameters
    ----------
    url
        Of the session; it may hold a secret and is never logged.
    reference
        Names the repository.
    client
        Of the reference's registry.
    rate_limiter
        For closing the session; None for no limit.
    """

    def __init__(
        self,
        url: Url,
        reference: ImageReference,
        client: RegistryClient,
        rate_limiter: RateLimiter | None,
    ) -> None:
        self._url = url
        self._reference = reference
        self._client = client
        self._rate_limiter = rate_limiter

    def finish(self, body: VerifiedStream) -> None:
        """Send the whole blob and close the session.

        After a broken connection, and a gateway's error, the registry can have stored the blob: one
        HEAD checks that.
        """
        try:
            self._close(body.digest, body)
        except OverloadedError as error:
            if error.status not in _GATEWAY_STATUSES or not self._arrived(body.digest):
                raise
        except (LostUploadError, PendingPermissionError):
            raise
        except TransientError as error:
            if self._arrived(body.digest):
                return
            # registries reset parallel uploads (dotnet/sdk-container-builds#279): send fewer
            raise TransientError(*error.message, hint=error.hint, is_throttle=True) from error

    def append(self, body: Iterable[bytes | memoryview]) -> None:
        """Send a stream of unknown length, in one PATCH as Docker does."""
        operation = f"push a layer to {self._reference.name}"
        response = self._client.request("PATCH", self._url, operation, headers=_BINARY, body=body)
        if not is_success(response):
            raise self._error(response, operation)
        location = response.header("location")
        if location:
            self._url = self._client.resolve(response, location, "upload location")

    def close_as(self, digest: Digest) -> None:
        """Close the session over the bytes that were sent."""
        self._close(digest, None)

    def cancel(self) -> None:
        """Cancel the session; one that cannot be cancelled expires."""
        self._client.uploads.cancel(self._url)

    def _close(self, digest: Digest, body: VerifiedStream | None) -> None:
        operation = f"push blob {digest} to {self._reference.name}"
        response = self._client.request(
            "PUT",
            self._url.with_parameters([("digest", str(digest))]),
            operation,
            headers=_BINARY,
            body=body,
            rate_limiter=self._rate_limiter,
        )
        if is_stored(response):
            return
        may_be_stored = is_success(response) or (body is None and _is_lost(response))
        if may_be_stored and has_blob(self._client, self._reference, digest):
            return  # 202 leaves it open; a closed session is unknown if its response was lost
        if is_success(response):
            raise LostUploadError(
                f"cannot {operation}: the registry accepted the blob and does not have it "
                f"({describe_response(response)})"
            )
        raise self._error(response, operation)

    def _arrived(self, digest: Digest) -> bool:
        try:
            return has_blob(self._client, self._reference, digest)
        except ReplicationError:
            return False  # the broken connection is the error to report

    def _error(self, response: HttpResponse, operation: str) -> RegistryError | TransientError:
        """Return the error for rejected bytes; after a lost session a new one may succeed.

        The repository exists, since the session was opened: a 404 is that of the session.
        """
        if _is_lost(response):
            problem = "the upload session was lost"
            if error_code(response) in _OTHER_BYTES_CODES:
                problem = "digest mismatch, the registry received other bytes than were sent"
            return LostUploadError(f"cannot {operation}: {problem} ({describe_response(response)})")
        error = self._client.error(response, operation)
        return PendingPermissionError(error) if self._client.is_pending_denial(response) else error


def _is_lost(response: HttpResponse) -> bool:
    return response.status in _LOST_STATUSES or error_code(response) in LOST_UPLOAD_CODES
