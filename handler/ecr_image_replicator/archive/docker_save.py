"""What `docker save` writes: a manifest.json, configs, and layers that are tar archives again.

Docker image specification 1.2, "Combined Image JSON + Filesystem Changeset Format". Layers are
stored uncompressed, by some tools compressed; folders of version 1 and links among the layers are
passed over and followed.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.archive.choice import Candidate, choose
from ecr_image_replicator.archive.tar_headers import shown
from ecr_image_replicator.errors import (
    ContentError,
    DigestMismatchError,
    InvalidArchiveError,
    InvalidDigestError,
)
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.manifests import (
    OCI_CONFIG,
    Descriptor,
    parse_config_diff_ids,
    parse_json,
)

if TYPE_CHECKING:
    from ecr_image_replicator.archive.tar_index import Member, TarIndex
    from ecr_image_replicator.model.archive_references import ArchiveReference

MANIFEST_NAME: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image without a manifest: a config, and layers that need not be blobs yet.

    Attributes
    ----------
    config
        The config's own bytes.
    layers
        The name of each layer's file.
    diff_ids
        Of each layer.
    """

    config: bytes
    layers: tuple[str, ...]
    diff_ids: tuple[Digest, ...]

    @property
    def config_descriptor(self) -> Descriptor:
        """Describe the config as a blob."""
        return Descriptor(OCI_CONFIG, Digest.of(self.config), len(self.config))


def read_stored_image(index: TarIndex, reference: ArchiveReference) -> StoredImage:
    """Read the config of the image that a reference means, and where its layers are.

    Raises
    ------
    ImageNotFoundError
        The reference fits none of the images, or several.
    InvalidArchiveError
        manifest.json or the config is malformed or missing, or they contradict each other.
    DigestMismatchError
        The config is not the one that its name says.
    """
    location = reference.location
    member = index.find(MANIFEST_NAME)
    if member is None:
        raise InvalidArchiveError(f"the archive {location} has no {MANIFEST_NAME}")
    try:
        images = _parse_manifest(index.read(member))
        image = choose([Candidate(each.tags, each) for each in images], reference)
        content = _read_config(index, image.config)
        diff_ids = parse_config_diff_ids(content)
    except InvalidArchiveError:
        raise
    except ContentError as error:
        raise InvalidArchiveError(f"the archive {location} cannot be used: {error}") from error
    if len(diff_ids) != len(image.layers):
        raise InvalidArchiveError(
            f"the archive {location} cannot be used: the image has {len(image.layers)} layers and "
            f"its config {shown(image.config)} names {len(diff_ids)}"
        )
    return StoredImage(content, image.layers, diff_ids)


def names_blobs(index: TarIndex, manifest: Member) -> bool:
    """Tell whether manifest.json describes an OCI layout, as Docker 25 and later write it."""
    return b'"blobs/' in index.read(manifest) and index.find("index.json") is not None


@dataclass(frozen=True, slots=True)
class _Entry:
    config: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]


def _parse_manifest(content: bytes) -> list[_Entry]:
    document = parse_json(content, f"its {MANIFEST_NAME}")
    if not isinstance(document, list) or not document:
        raise ContentError(f"its {MANIFEST_NAME} is not a list of images")
    return [_parse_entry(each) for each in document]


def _parse_entry(value: Any) -> _Entry:
    config = value.get("Config") if isinstance(value, dict) else None
    if not isinstance(config, str) or not config:
        raise ContentError(f"an image in its {MANIFEST_NAME} has no Config")
    layers, tags = _texts(value, "Layers"), _texts(value, "RepoTags")
    return _Entry(_path(config), tags, tuple(map(_path, layers)))


def _texts(value: dict[str, Any], name: str) -> tuple[str, ...]:
    texts = value.get(name) or []
    if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
        raise ContentError(f"an image in its {MANIFEST_NAME} has {name} that are no list of texts")
    return tuple(texts)


def _path(name: str) -> str:
    return posixpath.normpath(f"/{name}").lstrip("/")


def _read_config(index: TarIndex, name: str) -> bytes:
    member = index.find(name)
    if member is None:
        raise ContentError(f"its {MANIFEST_NAME} names the config {shown(name)}, which is missing")
    content = index.read(member)
    stem = posixpath.basename(name).removesuffix(".json").removeprefix("sha256:")
    try:
        named = Digest.parse(f"sha256:{stem}")
    except InvalidDigestError:
        return content  # some tools name it otherwise
    if Digest.of(content) != named:
        raise DigestMismatchError(f"the config {shown(name)} hashes to {Digest.of(content)}")
    return content
