"""Manifests (OCI distribution specification 1.1, end-3, end-7 and end-9)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from local.registry.context import RegistryContext, requested_digest
from local.registry.digests import Digest, DigestError, algorithm_of, digest_of, parse_digest
from local.registry.errors import ErrorCode, RegistryError
from local.registry.routes import Operation, is_tag
from local.registry.store import Manifest
from local.web import OversizedBodyError, Request, Response, read_body

MANIFEST_LIMIT_BYTES = 4 * 1024 * 1024

_IMAGE_MEDIA_TYPES = frozenset(
    {
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    }
)
_INDEX_MEDIA_TYPES = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)


def get_manifest(context: RegistryContext, operation: Operation, request: Request) -> Response:  # noqa: ARG001 - all endpoints have one signature
    """Return a manifest unchanged, and ignore the Accept header.

    Raises
    ------
    RegistryError
        404 NAME_UNKNOWN or MANIFEST_UNKNOWN; 400 for a malformed tag or digest.
    """
    _check_reference(operation.reference)
    manifest = context.store.find_manifest(operation.repository, operation.reference)
    if manifest is None:
        raise _unknown(context, operation)
    return Response(
        200,
        {
            "Content-Type": manifest.media_type,
            "Docker-Content-Digest": manifest.digest,
            "ETag": f'"{manifest.digest}"',
        },
        manifest.content,
    )


def put_manifest(context: RegistryContext, operation: Operation, request: Request) -> Response:
    """Store a manifest whose blobs and children exist (201).

    The response has OCI-Subject when the manifest has a subject and the referrers API is on.

    Raises
    ------
    RegistryError
        413 MANIFEST_INVALID over 4 MiB; 400 MANIFEST_INVALID, MANIFEST_BLOB_UNKNOWN,
        DIGEST_INVALID or TAG_INVALID.
    """
    _check_reference(operation.reference)
    try:
        content = read_body(request, MANIFEST_LIMIT_BYTES)
    except OversizedBodyError as error:
        raise RegistryError(ErrorCode.MANIFEST_INVALID, str(error), status=413) from error
    manifest = _parse(content, operation.reference, request.headers.get("content-type"))
    _check_references(context, operation.repository, manifest)
    context.policy.before_manifest(
        operation.repository, operation.reference, manifest, context.store
    )
    context.store.put_manifest(
        operation.repository, operation.reference, content, manifest.media_type
    )
    location = f"/v2/{operation.repository}/manifests/{manifest.digest}"
    headers = {
        "Location": context.location(request, location),
        "Docker-Content-Digest": manifest.digest,
    }
    subject = manifest.document.get("subject")
    if subject and context.referrers_api:
        headers["OCI-Subject"] = subject["digest"]
    return Response(201, headers)


def delete_manifest(context: RegistryContext, operation: Operation, request: Request) -> Response:  # noqa: ARG001 - all endpoints have one signature
    """Remove a tag, or a manifest with all its tags (202).

    Raises
    ------
    RegistryError
        404 NAME_UNKNOWN or MANIFEST_UNKNOWN; 400 for a malformed tag or digest.
    """
    _check_reference(operation.reference)
    by_digest = ":" in operation.reference
    delete = context.store.delete_manifest if by_digest else context.store.delete_tag
    if not delete(operation.repository, operation.reference):
        raise _unknown(context, operation)
    return Response(202)


def _check_reference(reference: str) -> None:
    if ":" in reference:
        requested_digest(reference)
    elif not is_tag(reference):
        raise RegistryError(ErrorCode.TAG_INVALID, f"not a tag: {reference[:200]!r}")


def _unknown(context: RegistryContext, operation: Operation) -> RegistryError:
    if operation.repository not in context.store.repositories:
        message = f"there is no repository {operation.repository}"
        return RegistryError(ErrorCode.NAME_UNKNOWN, message)
    message = f"{operation.repository} has no manifest {operation.reference}"
    return RegistryError(ErrorCode.MANIFEST_UNKNOWN, message)


def _parse(content: bytes, reference: str, content_type: str | None) -> Manifest:
    try:
        document = json.loads(content)
    except ValueError as error:
        raise _invalid("the manifest is not JSON") from error
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise _invalid("a manifest is a JSON object of schemaVersion 2")
    stated = document.get("mediaType")
    media_type = content_type.partition(";")[0].strip() if content_type else stated
    if stated is not None and stated != media_type:
        raise _invalid(f"the manifest has the media type {stated}, Content-Type {media_type}")
    if media_type not in _IMAGE_MEDIA_TYPES | _INDEX_MEDIA_TYPES:
        raise _invalid(f"{media_type} is not a known type of manifest")
    algorithm = algorithm_of(parse_digest(reference)) if ":" in reference else "sha256"
    digest = digest_of(content, algorithm)
    if ":" in reference and reference != digest:
        raise RegistryError(ErrorCode.DIGEST_INVALID, f"the manifest is {digest}, not {reference}")
    return Manifest(digest, content, media_type, document)


def _check_references(context: RegistryContext, repository: str, manifest: Manifest) -> None:
    """Reject a manifest with malformed or missing references.

    A subject may be missing: referrers can be pushed first.
    """
    if manifest.document.get("subject") is not None:
        _descriptor_digest(manifest.document["subject"])
    if manifest.media_type in _INDEX_MEDIA_TYPES:
        missing = [
            digest
            for digest in map(_descriptor_digest, _descriptors(manifest, "manifests"))
            if context.store.find_manifest(repository, digest) is None
        ]
    else:
        if not isinstance(manifest.document.get("config"), dict):
            raise _invalid("an image manifest has a config")
        missing = [
            digest
            for digest in _required_blobs(manifest, with_foreign=context.requires_foreign_layers)
            if not context.store.has_blob(repository, digest)
        ]
    if missing:
        raise context.policy.missing_references(repository, manifest, missing)


def _required_blobs(manifest: Manifest, *, with_foreign: bool) -> Iterator[Digest]:
    yield _descriptor_digest(manifest.document["config"])
    for layer in _descriptors(manifest, "layers"):
        digest = _descriptor_digest(layer)
        media_type = str(layer.get("mediaType", ""))
        # clients download foreign layers from their urls
        is_foreign = "nondistributable" in media_type or ".foreign." in media_type
        if with_foreign or not is_foreign:
            yield digest


def _descriptors(manifest: Manifest, key: str) -> list[Mapping[str, Any]]:
    descriptors = manifest.document.get(key)
    if not isinstance(descriptors, list):
        raise _invalid(f"{key} is not a list")
    return descriptors


def _descriptor_digest(descriptor: object) -> Digest:
    if not isinstance(descriptor, dict):
        raise _invalid("a descriptor is a JSON object")
    try:
        return parse_digest(str(descriptor.get("digest")))
    except DigestError as error:
        raise _invalid(str(error)) from error


def _invalid(message: str) -> RegistryError:
    return RegistryError(ErrorCode.MANIFEST_INVALID, message)
