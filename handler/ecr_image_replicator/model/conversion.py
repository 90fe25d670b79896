"""Conversion of manifests between Docker's format and OCI's; blobs stay as they are.

OCI image specification 1.1, "Compatibility Matrix"; Docker image manifest version 2, schema 2.
Docker's format has no annotations, no ``subject`` and no ``artifactType``.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ecr_image_replicator.errors import RequestError, Setting
from ecr_image_replicator.model.manifests import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    ImageIndex,
    ImageManifest,
    parse_json_object,
    parse_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest


class ManifestFormat(Enum):
    """A family of media types."""

    DOCKER = "docker"
    OCI = "oci"


_INDEXES: Final = {ManifestFormat.DOCKER: DOCKER_MANIFEST_LIST, ManifestFormat.OCI: OCI_INDEX}
_MANIFESTS: Final = {ManifestFormat.DOCKER: DOCKER_MANIFEST, ManifestFormat.OCI: OCI_MANIFEST}
_DOCKER_TYPES: Final = {
    OCI_CONFIG: DOCKER_CONFIG,
    OCI_LAYER: DOCKER_LAYER,
    f"{OCI_LAYER}+gzip": f"{DOCKER_LAYER}.gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar": (
        "application/vnd.docker.image.rootfs.foreign.diff.tar"
    ),
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": (
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    ),
}
#: The media type of a config or layer in each format, by its media type in the other.
_BLOBS: Final = {
    ManifestFormat.DOCKER: _DOCKER_TYPES,
    ManifestFormat.OCI: {docker: oci for oci, docker in _DOCKER_TYPES.items()},
}
_ZSTD: Final = ("+zstd", ".zstd")
_DESCRIPTOR_FIELDS: Final = ("size", "digest", "urls", "platform")


def image_media_type(target: ManifestFormat | None) -> str:
    """Return the media type of an image that is built in a format; the default is OCI's."""
    return _MANIFESTS[target or ManifestFormat.OCI]


class ConvertedContent(NamedTuple):
    """A manifest in the requested format.

    Attributes
    ----------
    root
        The converted manifest; the same bytes if it had the format before.
    children
        The converted manifests below an index, by their new digests.
    digests
        The new digest of each manifest below the index, by the old one.
    """

    root: Manifest
    children: Mapping[Digest, Manifest]
    digests: Mapping[Digest, Digest]


def convert_content(
    root: Manifest, children: Mapping[Digest, Manifest], target: ManifestFormat
) -> ConvertedContent:
    """Convert an image, or an index and everything below it.

    An image or index that has the format already stays as it is. Attestations and SOCI indexes in
    a converted index are left out: they name the digests that their images had before.

    Parameters
    ----------
    root
        The image or index.
    children
        Every manifest below the index, by digest.
    target
        The format.

    Raises
    ------
    RequestError
        A manifest has a subject or an artifact type, or a layer is compressed with zstd.
    """
    converter = _Converter(children, target)
    converted = converter.convert(root)
    below = {digest: each.digest for digest, each in converter.converted.items()}
    return ConvertedContent(
        converted, {each.digest: each for each in converter.converted.values()}, below
    )


class _Converter:
    def __init__(self, children: Mapping[Digest, Manifest], target: ManifestFormat) -> None:
        self._children = children
        self._target = target
        self.converted: dict[Digest, Manifest] = {}

    def convert(self, manifest: Manifest) -> Manifest:
        if isinstance(manifest, ImageIndex):
            return self._convert_index(manifest)
        return _convert_image(manifest, self._target)

    def _convert_index(self, index: ImageIndex) -> Manifest:
        listed = parse_json_object(index.content, "the index")["manifests"] or []
        kept = [
            (descriptor, raw)
            for descriptor, raw in zip(index.manifests, listed, strict=True)
            if not descriptor.is_artifact
            and (descriptor.platform is None or descriptor.platform.is_runnable)
        ]
        for descriptor, _ in kept:
            if descriptor.digest not in self.converted:
                child = self._children[descriptor.digest]
                self.converted[descriptor.digest] = self.convert(child)
        if self._has_format(index) and all(
            descriptor.digest == self.converted[descriptor.digest].digest for descriptor, _ in kept
        ):
            self._keep_children(index)
            return index
        _check_convertible(index, self._target)
        manifests = [self._entry(descriptor, raw) for descriptor, raw in kept]
        document = {"mediaType": _INDEXES[self._target], "manifests": manifests}
        return _build(document)

    def _has_format(self, index: ImageIndex) -> bool:
        formats = {_INDEXES[self._target], _MANIFESTS[self._target]}
        return formats.issuperset(
            (index.media_type, *(descriptor.media_type for descriptor in index.manifests))
        )

    def _keep_children(self, index: ImageIndex) -> None:
        """Keep all children of an unchanged index: what describes its images is still true."""
        for digest in {descriptor.digest for descriptor in index.manifests} - self.converted.keys():
            child = self.converted[digest] = self._children[digest]
            if isinstance(child, ImageIndex):
                self._keep_children(child)

    def _entry(self, descriptor: Descriptor, raw: Mapping[str, Any]) -> dict[str, Any]:
        child = self.converted[descriptor.digest]
        return {
            **_describe(raw, child.media_type),
            "size": len(child.content),
            "digest": str(child.digest),
        }


def _convert_image(manifest: ImageManifest, target: ManifestFormat) -> Manifest:
    blobs = (manifest.config, *manifest.layers)
    is_same = manifest.media_type == _MANIFESTS[target] and not any(
        blob.media_type in _BLOBS[target] for blob in blobs
    )
    if is_same:
        return manifest
    _check_convertible(manifest, target)
    source = parse_json_object(manifest.content, "the manifest")
    layers = source.get("layers") or []
    document = {
        "mediaType": _MANIFESTS[target],
        "config": _describe(source["config"], _convert_type(manifest, manifest.config, target)),
        "layers": [
            _describe(raw, _convert_type(manifest, layer, target))
            for raw, layer in zip(layers, manifest.layers, strict=True)
        ],
    }
    return _build(document)


def _check_convertible(manifest: Manifest, target: ManifestFormat) -> None:
    if manifest.subject is not None:
        raise _unsupported(manifest, target, "it has a subject")
    if manifest.artifact_type:
        raise _unsupported(manifest, target, "it has an artifactType")


def _convert_type(manifest: Manifest, blob: Descriptor, target: ManifestFormat) -> str:
    known = _BLOBS[target]
    if blob.media_type in known.values():
        return blob.media_type
    if blob.media_type in known:
        return known[blob.media_type]
    if blob.media_type.endswith(_ZSTD):
        raise _unsupported(manifest, target, f"layer {blob.digest} is compressed with zstd")
    raise _unsupported(manifest, target, f"{blob.digest} has the media type {blob.media_type[:80]}")


def _unsupported(manifest: Manifest, target: ManifestFormat, reason: str) -> RequestError:
    return RequestError(
        "invalid ",
        Setting.FORMAT,
        f": cannot convert manifest {manifest.digest} to {target.value}: {reason}",
        hint=("Remove ", Setting.FORMAT, ", or rebuild the image in that format."),
    )


def _describe(raw: Mapping[str, Any], media_type: str) -> dict[str, Any]:
    """Return a descriptor with another media type and without annotations."""
    kept = {name: raw[name] for name in _DESCRIPTOR_FIELDS if name in raw}
    return {"mediaType": media_type, **kept}


def _build(document: dict[str, Any]) -> Manifest:
    content = json.dumps({"schemaVersion": 2, **document}, separators=(",", ":")).encode()
    return parse_manifest(content)
