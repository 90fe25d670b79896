"""Manifests and digests in a registry's answers (OCI distribution specification 1.1, "Pull")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import ContentError, DigestMismatchError
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.manifests import (
    INDEX_MEDIA_TYPES,
    MANIFEST_MEDIA_TYPES,
    MAX_MANIFEST_BYTES,
    parse_manifest,
)

if TYPE_CHECKING:
    from ecr_image_replicator.model.manifests import Manifest
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.registry.client import RegistryClient
    from ecr_image_replicator.registry.http.messages import HttpResponse

ACCEPT_MANIFESTS: Final = ", ".join(sorted(MANIFEST_MEDIA_TYPES | INDEX_MEDIA_TYPES))


def read_manifest(answer: HttpResponse, wanted: Digest | None, origin: str) -> Manifest:
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
        raise client.error_from_response(answer, "show", f"{reference.name}:{tag}")
    return read_manifest(answer, None, reference.registry)


def announced_digest(answer: HttpResponse) -> Digest | None:
    """Read Docker-Content-Digest; None when it is missing or malformed, as it is at times."""
    try:
        return Digest.parse(answer.header("docker-content-digest"))
    except ContentError:
        return None
