"""Copies of images between the stores of two registries, for pull-through cache rules."""

from __future__ import annotations

from local.registry import Manifest, Store


def copy_image(
    source: Store, source_repository: str, manifest: Manifest, target: Store, repository: str
) -> None:
    """Copy a manifest with its children and blobs from one store to another."""
    document = manifest.document
    for child in document.get("manifests") or []:
        found = source.find_manifest(source_repository, child["digest"])
        if found is not None:
            copy_image(source, source_repository, found, target, repository)
    for descriptor in [document.get("config"), *(document.get("layers") or [])]:
        if isinstance(descriptor, dict):
            target.put_blob(repository, source.read_blob(source_repository, descriptor["digest"]))
    target.put_manifest(repository, manifest.digest, manifest.content, manifest.media_type)
