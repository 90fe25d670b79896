"""Writes content to a registry's store without a request."""

from __future__ import annotations

from local.images.manifests import Content, Index
from local.registry.digests import Digest
from local.registry.store import Store


def place(content: Content, store: Store, repository: str, tag: str | None = None) -> Digest:
    """Store an image or index with all its content and return its digest."""
    if isinstance(content, Index):
        for image in content.images:
            place(image, store, repository)
    else:
        for blob in content.blobs.values():
            store.put_blob(repository, blob)
    reference = tag or content.digest
    return store.put_manifest(repository, reference, content.manifest, content.media_type)
