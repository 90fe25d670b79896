"""The format of `docker save`: manifest.json, configs, and layers that are tar archives.

Docker image specification 1.2, "Combined Image JSON + Filesystem Changeset Format". Docker stores
layers uncompressed, some tools store them compressed. Since version 25 Docker writes an OCI layout
beside manifest.json.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ecr_image_replicator.archive.choice import Candidate
from ecr_image_replicator.archive.oci_layout import blob_name
from ecr_image_replicator.archive.tar_headers import normalize_path, quote
from ecr_image_replicator.errors import (
    ContentError,
    InvalidDigestError,
    InvalidManifestError,
)
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.manifests import (
    OCI_CONFIG,
    Descriptor,
    parse_config_diff_ids,
    parse_json,
    parse_json_object,
)

if TYPE_CHECKING:
    from ecr_image_replicator.archive.tar_index import TarIndex

MANIFEST_NAME: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image whose manifest has to be built: a config, and files with its layers.

    Attributes
    ----------
    config
        The config's bytes.
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
        """The descriptor of the config's blob."""
        return Descriptor(OCI_CONFIG, Digest.of(self.config), len(self.config))


@dataclass(frozen=True, slots=True)
class SavedImage:
    """An entry of manifest.json.

    Attributes
    ----------
    config, layers
        Names of files.
    tags
        The image's names.
    """

    config: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]


class StoredConfig(NamedTuple):
    """The config of an image, and the diff_ids in it."""

    content: bytes
    diff_ids: tuple[Digest, ...]


def read_saved_images(index: TarIndex) -> list[Candidate[SavedImage]]:
    """Read the images that manifest.json lists; an empty list if there is no manifest.json.

    Raises
    ------
    InvalidArchiveError
        manifest.json is malformed.
    """
    member = index.find(MANIFEST_NAME)
    if member is None:
        return []
    try:
        document = parse_json(index.read(member), MANIFEST_NAME) or []
        if not isinstance(document, list):
            raise InvalidManifestError(f"{MANIFEST_NAME} is not a list of images")
        images = [_parse_image(each) for each in document]
    except InvalidManifestError as error:
        raise index.invalid(*error.message, hint=error.hint) from error
    return [Candidate(each.tags, each) for each in images]


def read_stored_image(
    index: TarIndex, image: SavedImage, config: StoredConfig | None = None
) -> StoredImage:
    """Read an image's config, and find out which file holds which layer.

    Parameters
    ----------
    config
        The image's, if it was read.

    Raises
    ------
    InvalidArchiveError
        The config is missing or malformed, does not match the digest in its name, has another
        number of layers than manifest.json, or names two layers for one file.
    """
    content, diff_ids = config or read_config(index, image)
    if len(diff_ids) != len(image.layers):
        raise index.invalid(
            f"{MANIFEST_NAME} lists {len(image.layers)} layers and the config "
            f"{quote(image.config)} lists {len(diff_ids)}"
        )
    layers = _in_order(image.layers, diff_ids)
    if len(set(layers)) != len(set(zip(layers, diff_ids, strict=True))):
        raise index.invalid(
            f"{MANIFEST_NAME} lists one file for several layers of the config {quote(image.config)}"
        )
    return StoredImage(content, layers, diff_ids)


def read_config(index: TarIndex, image: SavedImage) -> StoredConfig:
    """Read an image's config.

    Raises
    ------
    InvalidArchiveError
        The config is missing or malformed, or does not match the digest in its name.
    """
    content = _read_config(index, image.config)
    try:
        return StoredConfig(content, _read_diff_ids(content, image))
    except ContentError as error:
        raise index.invalid(f"{quote(image.config)}: ", *error.message) from error


def _parse_image(value: Any) -> SavedImage:
    config = value.get("Config") if isinstance(value, dict) else None
    if not isinstance(config, str) or not config:
        raise InvalidManifestError(f"{MANIFEST_NAME} lists an image without Config")
    layers, tags = _texts(value, "Layers"), _texts(value, "RepoTags")
    return SavedImage(normalize_path(config), tags, tuple(map(normalize_path, layers)))


def _texts(value: dict[str, Any], name: str) -> tuple[str, ...]:
    texts = value.get(name) or []
    if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
        raise InvalidManifestError(f"{MANIFEST_NAME}: {name} is not a list of strings")
    return tuple(texts)


def _read_config(index: TarIndex, name: str) -> bytes:
    member = index.find(name)
    if member is None:
        raise index.invalid(f"the config {quote(name)} of {MANIFEST_NAME} not found")
    content = index.read(member)
    stem = posixpath.basename(name).removesuffix(".json").removeprefix("sha256:")
    try:
        named = Digest.parse(f"sha256:{stem}")
    except InvalidDigestError:
        return content  # jib, for example, names it config.json
    if not named.names(content):
        raise index.invalid(
            f"digest mismatch: the config {quote(name)} has the digest {Digest.of(content)}"
        )
    return content


def _read_diff_ids(config: bytes, image: SavedImage) -> tuple[Digest, ...]:
    rootfs = parse_json_object(config, "the config").get("rootfs") or {}
    if not image.layers and isinstance(rootfs, dict) and rootfs.get("diff_ids") is None:
        return ()
    return parse_config_diff_ids(config)


def _in_order(layers: tuple[str, ...], diff_ids: tuple[Digest, ...]) -> tuple[str, ...]:
    """Order layers that are named by their diff_ids as the config does, whose order counts."""
    names = tuple(map(blob_name, diff_ids))
    return names if sorted(names) == sorted(layers) else layers
