"""Tags and referrers (OCI distribution specification 1.1, end-8 and end-12)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from local.registry.context import RegistryContext, requested_digest
from local.registry.errors import ErrorCode, RegistryError
from local.registry.routes import Operation
from local.registry.store import Manifest
from local.web import Request, Response

_INDEX_MEDIA_TYPE = "application/vnd.oci.image.index.v1+json"


def list_tags(context: RegistryContext, operation: Operation, request: Request) -> Response:
    """Return a repository's tags in lexical order, `n` of them after `last`, with Link for more.

    Raises
    ------
    RegistryError
        404 NAME_UNKNOWN; 400 for an `n` that is not a number.
    """
    if operation.repository not in context.store.repositories:
        message = f"there is no repository {operation.repository}"
        raise RegistryError(ErrorCode.NAME_UNKNOWN, message)
    last = request.parameter("last") or ""
    tags = [tag for tag in context.store.tags(operation.repository) if tag > last]
    limit = request.parameter("n")
    headers = {"Content-Type": "application/json"}
    if limit is not None:
        if not limit.isdecimal():
            raise RegistryError("PAGINATION_NUMBER_INVALID", f"not a number of tags: {limit!r}")
        page = tags[: int(limit)]
        if page and len(page) < len(tags):
            query = urlencode({"n": limit, "last": page[-1]})
            next_page = f"/v2/{operation.repository}/tags/list?{query}"
            headers["Link"] = f'<{context.location(request, next_page)}>; rel="next"'
        tags = page
    return Response(200, headers, json.dumps({"name": operation.repository, "tags": tags}).encode())


def list_referrers(context: RegistryContext, operation: Operation, request: Request) -> Response:
    """Return an index of the manifests with a subject, filtered by `artifactType`.

    Raises
    ------
    RegistryError
        404 when the referrers API is off; 400 DIGEST_INVALID.
    """
    if not context.referrers_api:
        raise RegistryError(ErrorCode.UNKNOWN, "404 page not found", status=404)
    digest = requested_digest(operation.reference)
    descriptors = [
        _descriptor(manifest)
        for manifest in context.store.manifests(operation.repository)
        if (manifest.document.get("subject") or {}).get("digest") == digest
    ]
    headers = {"Content-Type": _INDEX_MEDIA_TYPE}
    artifact_type = request.parameter("artifactType")
    if artifact_type is not None:
        descriptors = [each for each in descriptors if each.get("artifactType") == artifact_type]
        headers["OCI-Filters-Applied"] = "artifactType"
    index = {"schemaVersion": 2, "mediaType": _INDEX_MEDIA_TYPE, "manifests": descriptors}
    return Response(200, headers, json.dumps(index).encode())


def _descriptor(manifest: Manifest) -> dict[str, Any]:
    descriptor: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": len(manifest.content),
    }
    config = manifest.document.get("config") or {}
    artifact_type = manifest.document.get("artifactType") or config.get("mediaType")
    if artifact_type:
        descriptor["artifactType"] = artifact_type
    if manifest.document.get("annotations"):
        descriptor["annotations"] = manifest.document["annotations"]
    return descriptor
