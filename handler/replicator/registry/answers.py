"""Manifests and digests in a registry's answers (OCI distribution specification 1.1, "Pull")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from replicator.digests import Digest
from replicator.errors import ContentError, DigestMismatchError
from replicator.manifests import INDEX_MEDIA_TYPES, MANIFEST_MEDIA_TYPES, parse_manifest

if TYPE_CHECKING:
    from replicator.manifests import Manifest
    from replicator.registry.messages import Answer

ACCEPT_MANIFESTS: Final = ", ".join(sorted(MANIFEST_MEDIA_TYPES | INDEX_MEDIA_TYPES))


def read_manifest(answer: Answer, wanted: Digest | None, origin: str) -> Manifest:
    """Parse a manifest that a registry answered with, and check that it is the one asked for.

    Raises
    ------
    DigestMismatchError
        It hashes to another digest.
    InvalidManifestError
        It cannot be understood.
    """
    if wanted is not None and not wanted.names(answer.content):
        found = Digest.of(answer.content, wanted.algorithm)
        raise DigestMismatchError(
            f"the manifest {wanted} from {origin} hashes to {found}; the origin is corrupt or was "
            "tampered with"
        )
    return parse_manifest(answer.content, answer.header("content-type"))


def announced_digest(answer: Answer) -> Digest | None:
    """Read Docker-Content-Digest; None when it is missing or malformed, as it is at times."""
    try:
        return Digest.parse(answer.header("docker-content-digest"))
    except ContentError:
        return None
