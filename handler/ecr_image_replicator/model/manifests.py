"""Manifests and indexes, parsed; their bytes are kept as they were read.

OCI image specification 1.1, "Image Manifest", "Image Index" and "Descriptors"; Docker image
manifest version 2, schema 2.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.errors import ContentError, InvalidManifestError
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.platforms import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"

MANIFEST_MEDIA_TYPES: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_MEDIA_TYPES: Final = frozenset({OCI_INDEX, DOCKER_MANIFEST_LIST})
CONFIG_MEDIA_TYPES: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})
_ATTESTATION_TYPE: Final = "vnd.docker.reference.type"
_ATTESTED_DIGEST: Final = "vnd.docker.reference.digest"
_SOCI_IMAGE_DIGEST: Final = "com.amazon.soci.image-manifest-digest"
#: Larger embedded content is read from the registry.
_MAX_DATA_CHARACTERS: Final = 64 * 1024
_SCHEMA_1: Final = "application/vnd.docker.distribution.manifest.v1"
_NON_DISTRIBUTABLE: Final = (
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
)

#: The limit of ECR, of Docker Hub, and of the specification.
MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
_MAX_BLOB_BYTES: Final = 2**63 - 1
#: Bounds of a document: its parsed form needs tens of bytes for each value.
_MAX_LISTS_AND_MAPS: Final = 100_000
_MAX_COMMAS: Final = 400_000


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to a blob or another manifest.

    OCI image specification 1.1, "Descriptors". `data` is the embedded content, verified; None
    without it.
    """

    media_type: str
    digest: Digest
    size_bytes: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""
    data: bytes | None = field(default=None, repr=False, compare=False)

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def described_digest(self) -> str:
        """The digest of the image that this entry of an index describes; "" for an image.

        BuildKit's "Image attestation storage", and SOCI index manifests of version 2.
        """
        if self.annotations.get(_ATTESTATION_TYPE) == "attestation-manifest":
            return self.annotations.get(_ATTESTED_DIGEST, "")
        return self.annotations.get(_SOCI_IMAGE_DIGEST, "")

    @property
    def is_artifact(self) -> bool:
        """Whether this entry of an index is not an image: an attestation or a SOCI index."""
        is_typed = bool(self.artifact_type) and self.artifact_type not in CONFIG_MEDIA_TYPES
        return is_typed or bool(self.described_digest)

    @property
    def is_distributable(self) -> bool:
        """False for layers that must not be pushed: foreign and non-distributable ones."""
        return not self.media_type.startswith(_NON_DISTRIBUTABLE)


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """The manifest of an image or artifact: a config and layers.

    `content` has the bytes as read; they are pushed unchanged.
    """

    content: bytes
    media_type: str
    digest: Digest
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The blobs that a registry must have before it accepts the manifest, the config first."""
        return (self.config, *(layer for layer in self.layers if layer.is_distributable))

    @property
    def is_container_image(self) -> bool:
        """False for artifacts, whose config has no platform."""
        return self.config.media_type in CONFIG_MEDIA_TYPES


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """The index of an image for several platforms.

    `content` has the bytes as read; they are pushed unchanged.
    """

    content: bytes
    media_type: str
    digest: Digest
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)


Manifest = ImageManifest | ImageIndex


def parse_manifest(content: bytes, content_type: str = "") -> Manifest:
    """Parse a manifest or an index.

    Parameters
    ----------
    content
        The bytes, at most `MAX_MANIFEST_BYTES`.
    content_type
        The Content-Type, for a body without ``mediaType``.

    Raises
    ------
    InvalidManifestError
        The document is too large, not JSON, ambiguous, unsupported or incomplete.
    """
    document = parse_json_object(content, "the manifest")
    media_type = _media_type(document, content_type)
    digest = Digest.of(content)
    subject = _optional_descriptor(document, "subject")
    artifact_type = _text(document, "artifactType")
    annotations = _annotations(document)
    if media_type in INDEX_MEDIA_TYPES:
        children = _descriptors(document, "manifests")
        return ImageIndex(
            content, media_type, digest, children, subject, artifact_type, annotations
        )
    return ImageManifest(
        content,
        media_type,
        digest,
        _descriptor(document.get("config"), "config"),
        _descriptors(document, "layers"),
        subject,
        artifact_type,
        annotations,
    )


def parse_config_platform(content: bytes) -> Platform | None:
    """Return the platform of an image's config; None without one.

    OCI image specification 1.1, "Image Configuration".

    Raises
    ------
    InvalidManifestError
        The config is not a JSON object.
    """
    return _platform(parse_json_object(content, "the image's config"))


def parse_config_diff_ids(content: bytes) -> tuple[Digest, ...]:
    """Return the digests of an image's uncompressed layers, from its config.

    OCI image specification 1.1, "Image Configuration", rootfs.

    Raises
    ------
    ContentError
        The config is not a JSON object, or has no list of digests.
    """
    rootfs = parse_json_object(content, "the image's config").get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list):
        raise InvalidManifestError("the image's config is invalid: it has no rootfs.diff_ids")
    return tuple(map(Digest.parse, diff_ids))


def build_image_manifest(
    config: Descriptor,
    layers: Sequence[Descriptor],
    *,
    annotations: Mapping[str, str] = MappingProxyType({}),
) -> ImageManifest:
    """Build an OCI manifest; equal arguments give equal bytes.

    OCI image specification 1.1, "Image Manifest".
    """
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _plain(config),
        "layers": [_plain(layer) for layer in layers],
    }
    if annotations:
        document["annotations"] = dict(annotations)
    content = json.dumps(document, separators=(",", ":")).encode()
    return ImageManifest(
        content,
        OCI_MANIFEST,
        Digest.of(content),
        config,
        tuple(layers),
        annotations=dict(annotations),
    )


def _plain(descriptor: Descriptor) -> dict[str, Any]:
    return {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size_bytes,
    }


def parse_json_object(content: bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object strictly: bounded, without duplicate keys and NaN.

    Raises
    ------
    InvalidManifestError
        The message starts with `what`.
    """
    document = parse_json(content, what)
    if not isinstance(document, dict):
        raise InvalidManifestError(f"{what} is invalid: not a JSON object")
    return document


def has_too_many_values(content: bytes) -> bool:
    """Return whether a JSON document would need much more memory than its text."""
    lists_and_maps = content.count(b"{") + content.count(b"[")
    return lists_and_maps > _MAX_LISTS_AND_MAPS or content.count(b",") > _MAX_COMMAS


def parse_json(content: bytes, what: str) -> Any:
    """Parse a JSON document as strictly as `parse_json_object`.

    Raises
    ------
    InvalidManifestError
        The message starts with `what`.
    """
    if len(content) > MAX_MANIFEST_BYTES:
        raise InvalidManifestError(f"{what} is invalid: larger than {MAX_MANIFEST_BYTES} bytes")
    if has_too_many_values(content):
        raise InvalidManifestError(f"{what} is invalid: too many JSON values")
    try:
        return json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as error:
        raise InvalidManifestError(f"{what} is invalid: not valid JSON") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("duplicate key")  # two parsers could read two different images
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _media_type(document: dict[str, Any], content_type: str) -> str:
    """Return the media type: the document's own, the Content-Type, or that of its structure."""
    if "manifests" in document and ("layers" in document or "config" in document):
        raise InvalidManifestError("invalid manifest: it is an image and an index at once")
    declared = document.get("mediaType") or content_type.partition(";")[0].strip().lower()
    if not isinstance(declared, str):
        raise InvalidManifestError("invalid manifest: its media type is not a string")
    if declared in INDEX_MEDIA_TYPES and "manifests" not in document:
        raise InvalidManifestError("invalid manifest: the index has no manifests")
    if declared in MANIFEST_MEDIA_TYPES | INDEX_MEDIA_TYPES:
        return declared
    if document.get("schemaVersion") == 1 or declared.startswith(_SCHEMA_1):
        raise InvalidManifestError(
            "invalid manifest: Docker schema 1 is not supported",
            hint="Push the image again with a current tool.",
        )
    if "mediaType" not in document and "manifests" in document:
        return OCI_INDEX
    if "mediaType" not in document and "config" in document:
        is_docker = _text(document["config"], "mediaType") == DOCKER_CONFIG
        return DOCKER_MANIFEST if is_docker else OCI_MANIFEST
    raise InvalidManifestError(f"invalid manifest: unknown media type {declared[:120]!r}")


def _descriptors(document: dict[str, Any], name: str) -> tuple[Descriptor, ...]:
    values = document.get(name)
    if values is None:
        return ()  # some builders write null for an artifact without layers
    if not isinstance(values, list):
        raise InvalidManifestError(f"invalid manifest: {name} is not a list")
    return tuple(_descriptor(value, f"{name}[{i}]") for i, value in enumerate(values))


def _optional_descriptor(document: dict[str, Any], name: str) -> Descriptor | None:
    value = document.get(name)
    return None if value is None else _descriptor(value, name)


def _descriptor(value: Any, name: str) -> Descriptor:
    if not isinstance(value, dict):
        raise InvalidManifestError(f"invalid manifest: {name} is not a descriptor")
    size_bytes = value.get("size")
    if type(size_bytes) is not int or not 0 <= size_bytes <= _MAX_BLOB_BYTES:
        raise InvalidManifestError(f"invalid manifest: {name} has an invalid size")
    try:
        digest = Digest.parse(value.get("digest"))
    except ContentError as error:
        raise InvalidManifestError(f"invalid manifest: {name} has an ", *error.message) from error
    media_type = value.get("mediaType")
    if not isinstance(media_type, str) or not media_type:
        raise InvalidManifestError(f"invalid manifest: {name} has no media type")
    platform = value.get("platform")
    return Descriptor(
        media_type,
        digest,
        size_bytes,
        _platform(platform) if isinstance(platform, dict) else None,
        _annotations(value),
        _text(value, "artifactType"),
        _embedded_data(value, digest, size_bytes),
    )


def _embedded_data(value: dict[str, Any], digest: Digest, size_bytes: int) -> bytes | None:
    """Return a descriptor's ``data``; None without it, or if it is not the digest's content."""
    text = value.get("data")
    if not isinstance(text, str) or len(text) > _MAX_DATA_CHARACTERS:
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if len(data) == size_bytes and digest.names(data) else None


def _platform(value: dict[str, Any]) -> Platform | None:
    os, architecture = _text(value, "os"), _text(value, "architecture")
    if not os and not architecture:
        return None
    features = value.get("os.features")
    return Platform.of(
        os,
        architecture,
        _text(value, "variant"),
        os_version=_text(value, "os.version"),
        os_features=tuple(each for each in features if isinstance(each, str))
        if isinstance(features, list)
        else (),
    )


def _annotations(document: dict[str, Any]) -> dict[str, str]:
    value = document.get("annotations")
    if not isinstance(value, dict):
        return {}
    return {key: text for key, text in value.items() if isinstance(text, str)}


def _text(document: Any, name: str) -> str:
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, str) else ""
