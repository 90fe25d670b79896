"""The interface for differences between a registry and the specification.

The registry calls a policy at each point where registries differ. A policy raises `RegistryError`
(a throttled PutImage: 429 with Retry-After; an immutable tag; an empty blob), raises
`DroppedConnectionError` (no response), or changes the response.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from local.registry.digests import Digest
from local.registry.errors import ErrorCode, RegistryError
from local.registry.routes import Operation
from local.registry.store import Manifest, Store
from local.registry.uploads import UploadSession
from local.web import Request, Response


class Policy(Protocol):
    """The decisions of a registry. All methods must be thread-safe."""

    def before(self, operation: Operation, request: Request, store: Store) -> None:
        """Reject an authorized operation before its body is read, or return."""
        ...

    def may_mount(self, source: str, target: str, digest: Digest, store: Store) -> bool:
        """Return whether a blob of `source` can be mounted into `target`.

        If not, the POST opens an upload session, as in the specification.
        """
        ...

    def before_blob(self, session: UploadSession, digest: Digest, store: Store) -> None:
        """Reject a complete, verified upload before it becomes a blob, or return."""
        ...

    def before_manifest(
        self, repository: str, reference: str, manifest: Manifest, store: Store
    ) -> None:
        """Reject a complete, verified manifest before it is stored, or return."""
        ...

    def missing_references(
        self, repository: str, manifest: Manifest, missing: Sequence[Digest]
    ) -> RegistryError:
        """Return the error for a manifest whose blobs or children are not in the repository."""
        ...

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        """Return the response to send, for an error as well as for a success."""
        ...


class SpecificationPolicy:
    """The behaviour of the specification, and a base class for other policies."""

    def before(self, operation: Operation, request: Request, store: Store) -> None:
        """Accept every operation."""

    def may_mount(self, source: str, target: str, digest: Digest, store: Store) -> bool:  # noqa: ARG002 - subclasses use it
        """Allow every mount."""
        return True

    def before_blob(self, session: UploadSession, digest: Digest, store: Store) -> None:
        """Accept every blob."""

    def before_manifest(
        self, repository: str, reference: str, manifest: Manifest, store: Store
    ) -> None:
        """Accept every manifest."""

    def missing_references(
        self,
        repository: str,
        manifest: Manifest,  # noqa: ARG002 - subclasses use it
        missing: Sequence[Digest],
    ) -> RegistryError:
        """Return MANIFEST_BLOB_UNKNOWN with the missing digests."""
        return RegistryError(
            ErrorCode.MANIFEST_BLOB_UNKNOWN,
            f"{repository} does not have {', '.join(missing[:5])}",
            detail=[{"digest": digest} for digest in missing],
        )

    def after(self, operation: Operation, request: Request, response: Response) -> Response:  # noqa: ARG002 - subclasses use it
        """Send every response unchanged."""
        return response
