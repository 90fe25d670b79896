"""Images, indexes and artifacts (OCI image specification 1.1, "Image Manifest", "Image Index")."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from local.images.layers import Layer
from local.registry.digests import Digest, digest_of

Format = Literal["oci", "docker"]

EMPTY_CONFIG = b"{}"
_EMPTY_MEDIA_TYPE = "application/vnd.oci.empty.v1+json"
_MANIFEST = {
    "oci": "application/vnd.oci.image.manifest.v1+json",
    "docker": "application/vnd.docker.distribution.manifest.v2+json",
}
_INDEX = {
    "oci": "application/vnd.oci.image.index.v1+json",
    "docker": "application/vnd.docker.distribution.manifest.list.v2+json",
}
_CONFIG = {
    "oci": "application/vnd.oci.image.config.v1+json",
    "docker": "application/vnd.docker.container.image.v1+json",
}
_CREATED = "2025-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Image:
    """The manifest of an image or artifact with its pushable blobs.

    `platform` is None for artifacts. `blobs` has the config and the layers except foreign ones.
    """

    manifest: bytes = field(repr=False)
    media_type: str
    digest: Digest
    config: bytes = field(repr=False)
    blobs: Mapping[Digest, bytes] = field(repr=False)
    platform: str | None = None
    artifact_type: str | None = None

    def descriptor(self, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return this manifest's descriptor in an index or a referrer."""
        descriptor = _descriptor(self.media_type, self.manifest)
        if self.platform:
            descriptor["platform"] = _platform(self.platform)
        if self.artifact_type:
            descriptor["artifactType"] = self.artifact_type
        if annotations:
            descriptor["annotations"] = dict(annotations)
        return descriptor


@dataclass(frozen=True, slots=True)
class Index:
    """An index and the images in it."""

    manifest: bytes = field(repr=False)
    media_type: str
    digest: Digest
    images: tuple[Image | Index, ...]

    @property
    def blobs(self) -> Mapping[Digest, bytes]:
        """The blobs of all images."""
        return {digest: blob for image in self.images for digest, blob in image.blobs.items()}

    def descriptor(self, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return this index's descriptor in another index or a referrer."""
        descriptor = _descriptor(self.media_type, self.manifest)
        if annotations:
            descriptor["annotations"] = dict(annotations)
        return descriptor


Content = Image | Index
"""Content that a tag can point at."""


def build_image(
    layers: Sequence[Layer],
    platform: str = "linux/amd64",
    format: Format = "oci",  # noqa: A002 - as skopeo and buildah name it
    *,
    media_type_in_body: bool = True,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    subject: Content | None = None,
) -> Image:
    """Return an image for a platform (`os/arch[/variant]`) that tools can unpack."""
    config = _encode(
        {
            "created": _CREATED,
            **_platform(platform),
            "config": {"Cmd": ["/bin/true"], "Labels": dict(labels or {})},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created": _CREATED, "created_by": "build_layer"} for _ in layers],
        }
    )
    manifest: dict[str, Any] = {"schemaVersion": 2}
    if media_type_in_body:
        manifest["mediaType"] = _MANIFEST[format]
    manifest["config"] = _descriptor(_CONFIG[format], config)
    manifest["layers"] = [layer.descriptor(format) for layer in layers]
    if subject is not None:
        manifest["subject"] = _subject(subject)
    if annotations:
        manifest["annotations"] = dict(annotations)
    blobs = {layer.digest: layer.content for layer in layers if not layer.urls}
    return _image(manifest, _MANIFEST[format], config, blobs, platform=platform)


def build_index(
    images: Sequence[Content],
    format: Format = "oci",  # noqa: A002 - as skopeo and buildah name it
    annotations: Mapping[str, str] | None = None,
    *,
    descriptor_annotations: Sequence[Mapping[str, str] | None] = (),
    subject: Content | None = None,
) -> Index:
    """Return an index of images; `descriptor_annotations` are for their descriptors, in order."""
    extended = [*descriptor_annotations, *[None] * (len(images) - len(descriptor_annotations))]
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": _INDEX[format],
        "manifests": [
            image.descriptor(notes) for image, notes in zip(images, extended, strict=True)
        ],
    }
    if subject is not None:
        document["subject"] = _subject(subject)
    if annotations:
        document["annotations"] = dict(annotations)
    manifest = _encode(document)
    return Index(manifest, _INDEX[format], digest_of(manifest), tuple(images))


def build_artifact(
    artifact_type: str,
    blobs: Sequence[tuple[str, bytes]] = (),
    *,
    config: tuple[str, bytes] | None = None,
    subject: Content | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """Return an artifact: a manifest of (media type, bytes) blobs.

    Without a config it has OCI 1.1's empty config, which is also the only layer if there are no
    blobs, as the image specification recommends. With a config, the config's media type is the
    artifact's type and `artifactType` is absent, as before OCI 1.1. A subject makes it a referrer.
    """
    config_type, config_content = config or (_EMPTY_MEDIA_TYPE, EMPTY_CONFIG)
    parts = list(blobs) or [(_EMPTY_MEDIA_TYPE, EMPTY_CONFIG)]
    manifest: dict[str, Any] = {"schemaVersion": 2, "mediaType": _MANIFEST["oci"]}
    if config is None:
        manifest["artifactType"] = artifact_type
    manifest["config"] = _descriptor(config_type, config_content)
    manifest["layers"] = [_descriptor(media_type, content) for media_type, content in parts]
    if subject is not None:
        manifest["subject"] = _subject(subject)
    if annotations:
        manifest["annotations"] = dict(annotations)
    contents = {digest_of(content): content for _, content in parts}
    return _image(manifest, _MANIFEST["oci"], config_content, contents, artifact_type=artifact_type)


def _image(
    manifest: Mapping[str, Any],
    media_type: str,
    config: bytes,
    blobs: Mapping[Digest, bytes],
    *,
    platform: str | None = None,
    artifact_type: str | None = None,
) -> Image:
    content = _encode(manifest)
    return Image(
        manifest=content,
        media_type=media_type,
        digest=digest_of(content),
        config=config,
        blobs={digest_of(config): config, **blobs},
        platform=platform,
        artifact_type=artifact_type,
    )


def _subject(subject: Content) -> dict[str, Any]:
    return _descriptor(subject.media_type, subject.manifest)


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def _platform(text: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False))


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
