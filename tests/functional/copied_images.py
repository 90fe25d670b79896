"""Read copied images from a registry: manifests, configs, and the diff_ids of their layers."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import zstandard
from local.registry import RegistryServer
from local.registry.digests import digest_of

LAYER = "application/vnd.oci.image.layer.v1.tar"


def manifest_of(registry: RegistryServer, repository: str, tag: str) -> dict[str, Any]:
    return dict(registry.store.manifest(repository, tag).document)


def config_of(registry: RegistryServer, repository: str, tag: str) -> bytes:
    digest = manifest_of(registry, repository, tag)["config"]["digest"]
    return registry.store.read_blob(repository, digest)


def diff_ids_of(registry: RegistryServer, repository: str, tag: str) -> list[str]:
    """Check the size of each layer, decompress it by its media type and return the diff_ids."""
    found = []
    for layer in manifest_of(registry, repository, tag)["layers"]:
        content = registry.store.read_blob(repository, layer["digest"])
        assert len(content) == layer["size"]
        suffix = layer["mediaType"].removeprefix(LAYER)
        if suffix == "+gzip":
            content = gzip.decompress(content)
        elif suffix == "+zstd":
            content = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read()
        else:
            assert suffix == ""
        found.append(str(digest_of(content)))
    return found


def config_diff_ids(config: bytes) -> list[str]:
    diff_ids: list[str] = json.loads(config)["rootfs"]["diff_ids"]
    return diff_ids
