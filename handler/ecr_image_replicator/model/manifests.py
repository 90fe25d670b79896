"""Manifests and indexes: a parsed view beside the bytes, and the bytes kept verbatim.

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

#: ECR's and Docker Hub's bound, and the specification's advice.
MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
_MAX_BLOB_BYTES: Final = 2**63 - 1
#: Values that a document of that size may hold: the smallest descriptors make a quarter of it.
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
        """False for layers that may not be pushed to a registry (OCI "Layer", foreign layers)."""
        return not self.media_type.startswith(_NON_DISTRIBUTABLE)


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """One platform's image, or an artifact: a config and layers.

    `content` is what the registry sent and what is pushed; the rest is read from it.
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
        """Everything that a registry must hold before it takes the manifest, config first."""
        return (self.config, *(layer for layer in self.layers if layer.is_distributable))

    @property
    def is_container_image(self) -> bool:
        """False for artifacts, whose config says nothing of a platform."""
        return self.config.media_type in CONFIG_MEDIA_TYPES


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """Several platforms' images under one digest.

    `content` is what the registry sent and what is pushed; the rest is read from it.
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
    """Read a manifest or an index.

    Parameters
    ----------
    content
        The bytes as received, at most `MAX_MANIFEST_BYTES`.
    content_type
        What the registry called it; counts where the body has no ``mediaType``.

    Raises
    ------
    InvalidManifestError
        It is too large, not JSON, ambiguous, of an unsupported kind, or lacks what its kind
        must have.
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
    """Read the platform from an image's config; None where it names none.

    OCI image specification 1.1, "Image Configuration".

    Raises
    ------
    InvalidManifestError
        The config is not a JSON object.
    """
    return _platform(parse_json_object(content, "the image's config"))


def parse_config_diff_ids(content: bytes) -> tuple[Digest, ...]:
    """Read the digests of an image's uncompressed layers from its config.

    OCI image specification 1.1, "Image Configuration", rootfs.

    Raises
    ------
    ContentError
        The config is not a JSON object, or has no list of digests.
    """
    rootfs = parse_json_object(content, "the image's config").get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list):
        raise InvalidManifestError("the image's config has no rootfs with diff_ids")
    return tuple(map(Digest.parse, diff_ids))


def build_image_manifest(
    config: Descriptor,
    layers: Sequence[Descriptor],
    *,
    annotations: Mapping[str, str] = MappingProxyType({}),
) -> ImageManifest:
    """Write an OCI manifest; equal arguments give equal bytes.

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
    """Read one JSON object from the wire, strictly: no duplicate keys, no NaN, bounded.

    Raises
    ------
    InvalidManifestError
        The sentence starts with `what`.
    """
    document = parse_json(content, what)
    if not isinstance(document, dict):
        raise InvalidManifestError(f"{what} is not a JSON object")
    return document


def parse_json(content: bytes, what: str) -> Any:
    """Read a JSON document from the wire, as strictly as `parse_json_object` does.

    Raises
    ------
    InvalidManifestError
        The sentence starts with `what`.
    """
    if len(content) > MAX_MANIFEST_BYTES:
        raise InvalidManifestError(f"{what} is larger than {MAX_MANIFEST_BYTES} bytes")
    # the parsed view takes tens of bytes a value: looked at before it is made
    if (
        content.count(b"{") + content.count(b"[") > _MAX_LISTS_AND_MAPS
        or content.count(b",") > _MAX_COMMAS
    ):
        raise InvalidManifestError(f"{what} has more parts than any image has")
    try:
        return json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as error:
        raise InvalidManifestError(f"{what} is not valid JSON") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice")  # two readers could see two different images
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _media_type(document: dict[str, Any], content_type: str) -> str:
    """Decide what a document is: by itself, else as the registry says, else by its shape."""
    if "manifests" in document and ("layers" in document or "config" in document):
        raise InvalidManifestError("the manifest claims to be an image and an index at once")
    declared = document.get("mediaType") or content_type.partition(";")[0].strip().lower()
    if not isinstance(declared, str):
        raise InvalidManifestError("the manifest's media type is not a text")
    if declared in INDEX_MEDIA_TYPES and "manifests" not in document:
        raise InvalidManifestError("the manifest claims to be an index and lists no manifests")
    if declared in MANIFEST_MEDIA_TYPES | INDEX_MEDIA_TYPES:
        return declared
    if document.get("schemaVersion") == 1 or declared.startswith(_SCHEMA_1):
        raise InvalidManifestError(
            "the image has a manifest of Docker's schema 1, which registries no longer take; "
            "push it again with a current tool"
        )
    if "mediaType" not in document and "manifests" in document:
        return OCI_INDEX
    if "mediaType" not in document and "config" in document:
        is_docker = _text(document["config"], "mediaType") == DOCKER_CONFIG
        return DOCKER_MANIFEST if is_docker else OCI_MANIFEST
    raise InvalidManifestError(f"the manifest's media type {declared[:120]!r} is not known")


def _descriptors(document: dict[str, Any], name: str) -> tuple[Descriptor, ...]:
    values = document.get(name)
    if values is None:
        return ()  # an artifact without layers, written by some builders as null
    if not isinstance(values, list):
        raise InvalidManifestError(f"the manifest's {name} is not a list")
    return tuple(_descriptor(value, f"{name}[{i}]") for i, value in enumerate(values))


def _optional_descriptor(document: dict[str, Any], name: str) -> Descriptor | None:
    value = document.get(name)
    return None if value is None else _descriptor(value, name)


def _descriptor(value: Any, name: str) -> Descriptor:
    if not isinstance(value, dict):
        raise InvalidManifestError(f"the manifest's {name} is not a descriptor")
    size_bytes = value.get("size")
    if type(size_bytes) is not int or not 0 <= size_bytes <= _MAX_BLOB_BYTES:
        raise InvalidManifestError(f"the manifest's {name} has no sensible size")
    try:
        digest = Digest.parse(value.get("digest"))
    except ContentError as error:
        raise InvalidManifestError(f"in the manifest's {name}, {error}") from error
    media_type = value.get("mediaType")
    if not isinstance(media_type, str) or not media_type:
        raise InvalidManifestError(f"the manifest's {name} has no media type")
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
