"""Finding the image in an archive, where manifest.json and index.json may both describe it.

manifest.json and the diff_ids of the config decide: Docker 25.0.0 wrote OCI manifests with layers
in random order (moby#47150) or without layers (moby#47065), and null for images that were saved by
digest (moby#47210).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.archive.choice import choose
from ecr_image_replicator.archive.compression import Compression
from ecr_image_replicator.archive.docker_save import (
    MANIFEST_NAME,
    SavedImage,
    StoredImage,
    read_config,
    read_saved_images,
    read_stored_image,
)
from ecr_image_replicator.archive.layers import compression_of
from ecr_image_replicator.archive.oci_layout import INDEX_NAME, LayoutIndex, OciLayout, blob_name
from ecr_image_replicator.archive.tar_headers import quote
from ecr_image_replicator.errors import ContentError, ImageNotFoundError, InvalidArchiveError
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.manifests import ImageManifest

if TYPE_CHECKING:
    from ecr_image_replicator.archive.choice import Candidate
    from ecr_image_replicator.archive.tar_index import TarIndex
    from ecr_image_replicator.model.archive_references import ArchiveReference
    from ecr_image_replicator.model.manifests import Manifest

_REPOSITORIES: Final = "repositories"
_MAX_LISTED: Final = 5
_BLOBS: Final = "blobs/"


def read_contents(
    index: TarIndex, reference: ArchiveReference, compression: Compression
) -> OciLayout | StoredImage:
    """Read what the archive says about the image that a reference means.

    Parameters
    ----------
    compression
        Asked for layers that are stored uncompressed.

    Returns
    -------
    OciLayout
        The image is copied byte for byte.
    StoredImage
        The image's manifest has to be built.

    Raises
    ------
    ImageNotFoundError
        The reference matches no image, or several.
    InvalidArchiveError
        There is no image in the archive, or its description is malformed or contradicts itself.
    """
    first = index.find_first({INDEX_NAME, MANIFEST_NAME})
    if first is None:
        raise _no_image(index)
    saved = read_saved_images(index) if _has_manifest(index, first.name) else []
    layout = _read_layout(index, reference, saved, first.name)
    if not saved:
        if layout is None:
            raise index.invalid(f"no image found in {MANIFEST_NAME}")
        return layout.choose()
    if layout is None or not layout.candidates:
        return read_stored_image(index, choose(saved, reference))
    try:
        image = choose(saved, reference)
    except ImageNotFoundError as error:
        try:
            return layout.choose()  # index.json may have other names and more images
        except ImageNotFoundError:
            raise error from None
    config = read_config(index, image)
    described = layout.find_with_config(Digest.of(config.content))
    if described is not None:
        image = replace(image, layers=_agreeing_layers(index, described, image, config.diff_ids))
    stored = read_stored_image(index, image, config)
    if described is not None and (
        described.is_index or _is_kept(described, stored, image, compression)
    ):
        return described
    return stored


def uncompressed_layers(index: TarIndex, manifest: Manifest) -> StoredImage | None:
    """Return the stored image of a manifest of `docker save`'s index with uncompressed layers.

    None when there is no manifest.json, all layers are compressed, or it is no container image.
    """
    if not isinstance(manifest, ImageManifest) or not manifest.is_container_image:
        return None
    if index.find_known(MANIFEST_NAME) is None or not _has_uncompressed(manifest):
        return None
    layers = tuple(blob_name(layer.digest) for layer in manifest.layers)
    return read_stored_image(index, SavedImage(blob_name(manifest.config.digest), (), layers))


def _has_manifest(index: TarIndex, first: str) -> bool:
    """Return whether there is a manifest.json.

    In a compressed archive, manifest.json is expected beside index.json: all known programs write
    it there, and looking for it among the blobs that follow would mean reading them twice.
    """
    if first == MANIFEST_NAME or not index.is_sequential:
        return index.find(MANIFEST_NAME) is not None
    follows = False
    for member in index.in_order():
        if member.name == MANIFEST_NAME:
            return True
        if follows and member.name.startswith(_BLOBS):
            return False
        follows = follows or member.name == INDEX_NAME
    return False


def _has_layout(index: TarIndex, saved: list[Candidate[SavedImage]], first: str) -> bool:
    """Return whether there is an index.json that has to be read."""
    if first == INDEX_NAME or not saved:
        return index.find(INDEX_NAME) is not None
    names_blobs = any(name.startswith(_BLOBS) for each in saved for name in _names(each.image))
    return names_blobs and index.find(INDEX_NAME) is not None


def _read_layout(
    index: TarIndex, reference: ArchiveReference, saved: list[Candidate[SavedImage]], first: str
) -> LayoutIndex | None:
    """Read index.json if it is used; a malformed one is ignored beside manifest.json."""
    if not _has_layout(index, saved, first):
        return None
    try:
        return LayoutIndex(index, reference)
    except InvalidArchiveError:
        if saved:
            return None
        raise


def _agreeing_layers(
    index: TarIndex, described: OciLayout, image: SavedImage, diff_ids: tuple[Digest, ...]
) -> tuple[str, ...]:
    """Return the layers of manifest.json, or of an OCI manifest that alone agrees with diff_ids.

    The first layer that differs decides. A compressed one is read for it, unless the archive can
    only be read from its start.
    """
    try:
        manifest = described.fetch_manifest(None)
    except ContentError:
        return image.layers
    if not isinstance(manifest, ImageManifest) or len(manifest.layers) != len(diff_ids):
        return image.layers
    layers = tuple(blob_name(layer.digest) for layer in manifest.layers)
    if len(image.layers) != len(diff_ids):
        return layers
    for layer, name, other, diff_id in zip(
        manifest.layers, layers, image.layers, diff_ids, strict=True
    ):
        if name != other:
            if compression_of(layer) is Compression.NONE:
                agrees = layer.digest == diff_id
            else:
                agrees = not index.is_sequential and described.holds_layer(layer, diff_id)
            return layers if agrees else image.layers
    return layers


def _names(image: SavedImage) -> tuple[str, ...]:
    return (image.config, *image.layers)


def _is_kept(
    layout: OciLayout, stored: StoredImage, image: SavedImage, compression: Compression
) -> bool:
    """Return whether an OCI manifest is pushed byte for byte.

    It has to agree with manifest.json and with the diff_ids, as far as digests tell, and must not
    have layers that are to be compressed.
    """
    try:
        manifest = layout.fetch_manifest(None)
    except ContentError:
        return False
    if not isinstance(manifest, ImageManifest) or len(manifest.layers) != len(stored.diff_ids):
        return False
    if _has_uncompressed(manifest) and compression is not Compression.NONE:
        return False
    return tuple(blob_name(layer.digest) for layer in manifest.layers) == image.layers and all(
        layer.digest == diff_id
        for layer, diff_id in zip(manifest.layers, stored.diff_ids, strict=True)
        if compression_of(layer) is Compression.NONE
    )


def _has_uncompressed(manifest: ImageManifest) -> bool:
    return any(compression_of(layer) is Compression.NONE for layer in manifest.layers)


def _no_image(index: TarIndex) -> ContentError:
    names = index.names()
    if _REPOSITORIES in names:
        return index.invalid(
            f"no {MANIFEST_NAME} found, but {_REPOSITORIES}: a Docker older than 1.10 wrote it",
            hint="Save the image again with a newer Docker.",
        )
    listed = f": {', '.join(map(quote, names[:_MAX_LISTED]))}" if names else ""
    more = ", …" if len(names) > _MAX_LISTED else ""
    return index.invalid(
        f"neither {MANIFEST_NAME} nor {INDEX_NAME} found among {len(names)} "
        f"file{'s' if len(names) != 1 else ''}{listed}{more}",
        hint="Use an archive of docker save, or an OCI layout.",
    )
