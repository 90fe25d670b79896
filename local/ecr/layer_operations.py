"""Operations on layers (ECR API Reference)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.ecr.errors import invalid_parameter
from local.ecr.registry import EcrRegistry, descriptors_of
from local.registry.digests import DigestError, parse_digest

_BATCH_LIMIT = 100


def batch_check_layer_availability(
    registry: EcrRegistry, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Return which of at most 100 blobs a repository has."""
    repository = registry.repository(str(parameters.get("repositoryName"))).name
    digests = parameters.get("layerDigests") or []
    if not 1 <= len(digests) <= _BATCH_LIMIT:
        raise invalid_parameter("layerDigests", f"between 1 and {_BATCH_LIMIT} digests")
    layers, failures = [], []
    media_types = _media_types(registry, repository)
    archived = _archived_layers(registry, repository)
    for digest in digests:
        try:
            parse_digest(digest)
        except DigestError as error:
            failures.append(
                {
                    "layerDigest": digest,
                    "failureCode": "InvalidLayerDigest",
                    "failureReason": str(error),
                }
            )
            continue
        blob = registry.store.find_blob(repository, digest)
        layer: dict[str, Any] = {"layerDigest": digest, "layerAvailability": "UNAVAILABLE"}
        if blob is not None:
            availability = "ARCHIVED" if digest in archived else "AVAILABLE"
            layer |= {"layerAvailability": availability, "layerSize": blob.size_bytes}
            if digest in media_types:
                layer["mediaType"] = media_types[digest]
        layers.append(layer)
    return {"layers": layers, "failures": failures}


def _archived_layers(registry: EcrRegistry, repository: str) -> set[str]:
    """Return the layers that only archived images refer to."""
    layers: dict[bool, set[str]] = {True: set(), False: set()}
    for manifest in registry.store.manifests(repository):
        is_archived = manifest.digest in registry.quirks.archived
        layers[is_archived] |= {str(each["digest"]) for each in descriptors_of(manifest)}
    return layers[True] - layers[False]


def _media_types(registry: EcrRegistry, repository: str) -> dict[str, str]:
    return {
        str(each["digest"]): str(each["mediaType"])
        for manifest in registry.store.manifests(repository)
        for each in descriptors_of(manifest)
        if "mediaType" in each
    }
