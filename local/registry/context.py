"""The context of all endpoints."""

from __future__ import annotations

from dataclasses import dataclass

from local.registry.digests import Digest, DigestError, parse_digest
from local.registry.errors import ErrorCode, RegistryError
from local.registry.policy import Policy
from local.registry.redirects import SignedBlobStorage
from local.registry.store import Store
from local.web import Request


@dataclass(frozen=True, slots=True)
class RegistryContext:
    """A registry's store and configuration.

    `blob_storage` is the target of blob redirects at `storage_origin`, or None to send blobs from
    here. With `requires_foreign_layers`, a manifest needs these like its other layers.
    """

    store: Store
    policy: Policy
    referrers_api: bool = True
    absolute_locations: bool = False
    blob_storage: SignedBlobStorage | None = None
    storage_origin: str = ""
    requires_foreign_layers: bool = False

    def location(self, request: Request, path: str) -> str:
        """Return a path as in this registry's Location and Link headers."""
        return request.origin + path if self.absolute_locations else path


def requested_digest(text: str) -> Digest:
    """Return the digest in a request.

    Raises
    ------
    RegistryError
        400 DIGEST_INVALID.
    """
    try:
        return parse_digest(text)
    except DigestError as error:
        raise RegistryError(ErrorCode.DIGEST_INVALID, str(error)) from error
