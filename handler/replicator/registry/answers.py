"""Manifests and digests in a registry's answers (OCI distribution specification 1.1, "Pull")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from replicator.digests import Digest
from replicator.errors import ContentError, DigestMismatchError
from replicator.manifests import (
    INDEX_MEDIA_TYPES,
    MANIFEST_MEDIA_TYPES,
    MAX_MANIFEST_BYTES,
    parse_manifest,
)

if TYPE_CHECKING:
    from replicator.manifests import Manifest
    from replicator.references import ImageReference
    from replicator.registry.client import RegistryClient
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


def find_manifest(client: RegistryClient, reference: ImageReference, tag: str) -> Manifest | None:
    """Read what a tag of the reference's repository points at; None where it is not there.

    Raises
    ------
    RegistryError
        The registry refuses.
    InvalidManifestError
        It cannot be understood.
    """
    answer = client.request(
        "GET",
        f"/v2/{reference.repository}/manifests/{tag}",
        headers={"Accept": ACCEPT_MANIFESTS},
        limit_bytes=MAX_MANIFEST_BYTES,
    )
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise client.refusal(answer, "show", f"{reference.name}:{tag}")
    return read_manifest(answer, None, reference.registry)


def announced_digest(answer: Answer) -> Digest | None:
    """Read Docker-Content-Digest; None when it is missing or malformed, as it is at times."""
    try:
        return Digest.parse(answer.header("docker-content-digest"))
    except ContentError:
        return None
