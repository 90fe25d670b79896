"""Manifests and digests in a registry's responses (OCI distribution specification 1.1, "Pull")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import ContentError, DigestMismatchError, InvalidManifestError
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.manifests import (
    INDEX_MEDIA_TYPES,
    MANIFEST_MEDIA_TYPES,
    MAX_MANIFEST_BYTES,
    parse_manifest,
)
from ecr_image_replicator.registry.client import RETRY_429_ONLY
from ecr_image_replicator.registry.error_bodies import is_html, is_web_page
from ecr_image_replicator.registry.error_responses import is_not_found, not_a_registry
from ecr_image_replicator.retries import RETRYABLE_STATUSES

if TYPE_CHECKING:
    from ecr_image_replicator.model.manifests import Manifest
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.registry.client import RegistryClient
    from ecr_image_replicator.registry.http.messages import HttpResponse

ACCEPT_MANIFESTS: Final = ", ".join(sorted(MANIFEST_MEDIA_TYPES | INDEX_MEDIA_TYPES))
#: Statuses of success whose response to a GET has no content, or a part of it.
_WITHOUT_MANIFEST: Final = frozenset({202, 204, 205, 206})


def get_manifest(
    client: RegistryClient,
    repository: str,
    selector: str,
    operation: str,
    *,
    retry_statuses: frozenset[int] = RETRYABLE_STATUSES,
) -> HttpResponse:
    """Send the GET for a manifest by its tag or digest."""
    return client.request(
        "GET",
        f"/v2/{repository}/manifests/{selector}",
        operation,
        headers={"Accept": ACCEPT_MANIFESTS},
        limit_bytes=MAX_MANIFEST_BYTES,
        retry_statuses=retry_statuses,
    )


def head_manifest(
    client: RegistryClient, repository: str, selector: str, operation: str
) -> HttpResponse:
    """Send the HEAD for a manifest by its tag or digest; a GET follows where it fails."""
    return client.request(
        "HEAD",
        f"/v2/{repository}/manifests/{selector}",
        operation,
        headers={"Accept": ACCEPT_MANIFESTS},
        retry_statuses=RETRY_429_ONLY,
    )


def has_manifest(response: HttpResponse) -> bool:
    """Return whether a response to a GET has the manifest as its body."""
    return is_success(response) and response.status not in _WITHOUT_MANIFEST


def read_manifest(
    response: HttpResponse, wanted: Digest | None, operation: str, client: RegistryClient
) -> Manifest:
    """Parse a manifest that a registry returned, and check that it is the one that was requested.

    Raises
    ------
    ProtocolError
        The response is a web page.
    DigestMismatchError
        It hashes to another digest.
    InvalidManifestError
        It is malformed or of an unsupported kind.
    """
    if is_web_page(response):
        raise not_a_registry(response, operation, response.url.authority, client.side)
    if wanted is not None and not wanted.names(response.content):
        found = Digest.of(response.content, wanted.algorithm)
        raise DigestMismatchError(
            f"cannot {operation}: digest mismatch, the manifest {wanted} from {client.registry} "
            f"hashes to {found}",
            hint="The registry's content is corrupt or was tampered with.",
        )
    try:
        return parse_manifest(response.content, response.header("content-type"))
    except InvalidManifestError as error:
        raise InvalidManifestError(
            f"cannot {operation}: ", *error.message, hint=error.hint
        ) from error


def find_manifest(
    client: RegistryClient, reference: ImageReference, tag: str, *, forbidden_is_missing: bool
) -> Manifest | None:
    """Read the manifest that a tag of the reference's repository points at; None for no such tag.

    Parameters
    ----------
    forbidden_is_missing
        Whether a 403 means that the tag does not exist, as Artifactory responds.

    Raises
    ------
    RegistryError
        The registry rejects the request.
    InvalidManifestError
        The manifest is malformed or of an unsupported kind.
    """
    operation = f"read {reference.manifest_name(tag)}"
    response = get_manifest(client, reference.repository, tag, operation)
    if is_not_found(response) or (response.status == 403 and forbidden_is_missing):
        return None
    if not has_manifest(response):
        raise client.error(response, operation)
    return read_manifest(response, None, operation, client)


def announced_digest(response: HttpResponse) -> Digest | None:
    """Parse Docker-Content-Digest; None when it is absent or malformed, as it is at times."""
    try:
        return Digest.parse(response.header("docker-content-digest"))
    except ContentError:
        return None


def is_stored(response: HttpResponse) -> bool:
    """Return whether a PUT stored its content: 201, 204, or 200 that is no login page."""
    return response.status in {201, 204} or (response.status == 200 and not is_html(response))


def is_success(response: HttpResponse) -> bool:
    """Return whether the status is one of success, 2xx."""
    return 200 <= response.status < 300
