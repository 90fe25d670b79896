"""How a kind of registry differs from the specification.

A policy is called at each point where registries differ. It rejects by `RegistryError` (a throttled
PutImage: 429 with Retry-After; an immutable tag; an empty blob), by `DroppedConnectionError`
(no response at all), or by changing the response.
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
    """The decisions of a registry; every method may be called from several threads at once."""

    def before(self, operation: Operation, request: Request, store: Store) -> None:
        """Reject an authorized operation before its body is read, or return."""
        ...

    def may_mount(self, source: str, target: str, digest: Digest, store: Store) -> bool:
        """Return whether a blob of `source` may be mounted into `target`.

        If not, the POST opens an upload session, as the specification says.
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
    """The specification; a base class for policies that change a point of it."""

    def before(self, operation: Operation, request: Request, store: Store) -> None:
        """Accept every operation."""

    def may_mount(self, source: str, target: str, digest: Digest, store: Store) -> bool:  # noqa: ARG002 - overridden by policies that look
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
        manifest: Manifest,  # noqa: ARG002 - overridden by policies that look
        missing: Sequence[Digest],
    ) -> RegistryError:
        """Name what is missing in MANIFEST_BLOB_UNKNOWN."""
        return RegistryError(
            ErrorCode.MANIFEST_BLOB_UNKNOWN,
            f"{repository} does not have {', '.join(missing[:5])}",
            detail=[{"digest": digest} for digest in missing],
        )

    def after(self, operation: Operation, request: Request, response: Response) -> Response:  # noqa: ARG002 - overridden by policies that look
        """Send every response unchanged."""
        return response
