"""Where a particular registry's manners go, beyond what the specification asks.

A policy is asked at each point where registries differ. It refuses by `RegistryError` (a throttled
PutImage: 429 with Retry-After; an immutable tag; an empty blob), by `DroppedConnectionError`
(no answer at all), or by changing the answer.
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
    """The questions a registry asks; every method may be called from several threads at once."""

    def before(self, operation: Operation, request: Request, store: Store) -> None:
        """Refuse an authorized operation before its body is read, or let it go on."""
        ...

    def may_mount(self, source: str, target: str, digest: Digest, store: Store) -> bool:
        """Return whether a blob that `source` has may be linked into `target`.

        When not, the POST opens an upload session, as the specification has it.
        """
        ...

    def before_blob(self, session: UploadSession, digest: Digest, store: Store) -> None:
        """Refuse a complete, verified upload before it becomes a blob, or let it go on."""
        ...

    def before_manifest(
        self, repository: str, reference: str, manifest: Manifest, store: Store
    ) -> None:
        """Refuse a complete, verified manifest before it is stored, or let it go on."""
        ...

    def missing_references(
        self, repository: str, manifest: Manifest, missing: Sequence[Digest]
    ) -> RegistryError:
        """Return the refusal of a manifest whose blobs or children are not in the repository."""
        ...

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        """Return the answer to send, to a refusal as well as to a success."""
        ...


class SpecificationPolicy:
    """The specification and nothing else; a base for policies which change a point of it."""

    def before(self, operation: Operation, request: Request, store: Store) -> None:
        """Let every operation go on."""

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
        """Send every answer as it is."""
        return response
