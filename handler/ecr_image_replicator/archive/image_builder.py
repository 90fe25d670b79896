"""Making an image of a config and stored layers, with as little as can be read and sent.

What the destination has already is asked first: an image with the same config there is the image;
otherwise the images that its tag and the resource's previous tag point at tell, by their configs,
which blob there is which layer. All that is checked, by the config's digest, the number of its
layers, and whether the blobs are there. Only the other layers are read.
"""

from __future__ import annotations

import logging
import operator
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.archive.compression import Compression
from ecr_image_replicator.archive.layers import layer_media_type
from ecr_image_replicator.copy.results import TransferReport
from ecr_image_replicator.errors import ContentError, NotFoundError
from ecr_image_replicator.model.digests import read_verified
from ecr_image_replicator.model.manifests import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    ImageManifest,
    build_image_manifest,
    parse_config_diff_ids,
    parse_config_platform,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from ecr_image_replicator.archive.docker_save import StoredImage
    from ecr_image_replicator.archive.layers import ArchivedLayer
    from ecr_image_replicator.archive.source import ArchiveSource
    from ecr_image_replicator.copy.ports import ImageDestination
    from ecr_image_replicator.copy.transfer import Transfer
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.platforms import Platform

_LOGGER: Final = logging.getLogger(__name__)
_REMEMBERED_LAYERS: Final = 10_000
_DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
#: How a layer of each media type is compressed.
_COMPRESSIONS: Final = {
    **{layer_media_type(each): each for each in (Compression.GZIP, Compression.ZSTD)},
    layer_media_type(Compression.NONE): Compression.NONE,
    _DOCKER_LAYER: Compression.NONE,
    f"{_DOCKER_LAYER}.gzip": Compression.GZIP,
    f"{_DOCKER_LAYER}.zstd": Compression.ZSTD,
}


class LayerCache:
    """The blobs that the process has made of layers and put into a repository.

    A failed deployment's next attempt finds them by it, before any tag tells of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blobs: OrderedDict[tuple[str, Digest, Compression], Descriptor] = OrderedDict()

    def find(self, repository: str, diff_id: Digest, compression: Compression) -> Descriptor | None:
        """Give the blob of a layer; None when it was not made lately."""
        with self._lock:
            return self._blobs.get((repository, diff_id, compression))

    def keep(
        self, repository: str, diff_id: Digest, compression: Compression, blob: Descriptor
    ) -> None:
        """Remember a blob; the oldest is forgotten when there are too many."""
        with self._lock:
            self._blobs[repository, diff_id, compression] = blob
            if len(self._blobs) > _REMEMBERED_LAYERS:
                self._blobs.popitem(last=False)

    def learn(self, repository: str, layers: Mapping[Digest, Descriptor]) -> None:
        """Remember blobs that another process has made, by their diff_ids."""
        for diff_id, blob in layers.items():
            if (compression := _compression(blob)) is not None:
                self.keep(repository, diff_id, compression, blob)


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image whose layers are at the destination.

    Attributes
    ----------
    manifest
        Made, or found at the destination.
    platform
        As the config says.
    present
        Blobs that are at the destination.
    """

    manifest: ImageManifest
    platform: Platform | None
    present: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class UnbuiltImage:
    """An image that was not made, so that its digest is not known.

    Attributes
    ----------
    platform
        As the config says.
    missing
        What would be sent, layers by their diff_ids and as they are stored; None when only reading
        the archive through would tell the sizes.
    report
        What making it would come to.
    """

    platform: Platform | None
    missing: tuple[Descriptor, ...] | None
    report: TransferReport


class ImageBuilder:
    """Makes images of stored ones.

    Parameters
    ----------
    source
        The archive.
    destination
        Where what is there is looked at.
    repository
        Names the destination, for what is remembered of it.
    transfer
        Sends what is missing.
    made
        What the process has made before.
    """

    def __init__(
        self,
        source: ArchiveSource,
        destination: ImageDestination,
        repository: str,
        transfer: Transfer,
        made: LayerCache,
    ) -> None:
        self._source = source
        self._destination = destination
        self._repository = repository
        self._transfer = transfer
        self._made = made
        self._similar: list[ImageManifest] = []

    def find(self, image: StoredImage, present: Iterable[ImageManifest]) -> BuiltImage | None:
        """Find the image at the destination; None when it is to be made.

        Parameters
        ----------
        present
            Images at the destination that may be or resemble this one, asked for one by one.
        """
        compressions = self._source.layer_compressions()
        for manifest in present:
            if _is_image(manifest, image, compressions):
                self._transfer.remember_made(self._layer_finder(image, manifest))
                platform = parse_config_platform(image.config)
                return BuiltImage(manifest, platform, manifest.blobs)
            self._similar.append(manifest)
        return None

    def plan_changes(self, image: StoredImage) -> UnbuiltImage | None:
        """Say what `make` would come to; None when it would read and send no layer.

        Raises
        ------
        ReplicationError
            A layer is not there, or the destination cannot be asked.
        """
        grown = self._streamed_layers(image)
        blobs = self._find_there(grown)
        at_hand = self._source.find_layers_at_hand()
        if at_hand is not None and not grown.keys() - blobs.keys():
            return None
        layers = [layer for layer in at_hand or () if layer.diff_id not in blobs]
        asked = [image.config_descriptor, *(layer.stored for layer in layers if layer.is_blob)]
        there = self._transfer.find_present(asked)
        missing = (image.config_descriptor, *(layer.stored for layer in layers))
        missing = tuple(blob for blob in missing if blob.digest not in there)
        present = [*blobs.values(), *(blob for blob in asked if blob.digest in there)]
        return UnbuiltImage(
            parse_config_platform(image.config),
            missing if at_hand is not None else None,
            TransferReport(
                blobs_copied=len(set(image.diff_ids)) + 1 - len(present),
                blobs_skipped=len(present),
                bytes_copied=sum(blob.size_bytes for blob in missing),
                bytes_skipped=sum(blob.size_bytes for blob in present),
            ),
        )

    def make(self, image: StoredImage) -> BuiltImage:
        """Make the image at the destination, but for its config and its manifest.

        Raises
        ------
        ReplicationError
            A layer cannot be read, is not the one that the config names, or cannot be sent.
        """
        wanted = dict.fromkeys(image.diff_ids)
        grown = self._streamed_layers(image)
        blobs = self._find_there(grown)
        _LOGGER.info("assembling", extra={"layers": len(wanted), "layers_present": len(blobs)})
        blobs |= self._send(grown.keys() - blobs.keys())
        as_stored = list(self._source.find_layers(wanted.keys() - blobs.keys()))
        # how a layer is stored may have been taken wrongly before it was reached
        blobs |= self._send({layer.diff_id for layer in as_stored if not layer.is_blob})
        layers = {layer.diff_id: layer.stored for layer in as_stored} | blobs
        manifest = build_image_manifest(
            image.config_descriptor, [layers[diff_id] for diff_id in image.diff_ids]
        )
        self._transfer.remember_made(self._layer_finder(image, manifest))
        platform = parse_config_platform(image.config)
        return BuiltImage(manifest, platform, tuple(blobs.values()))

    def _layer_finder(
        self, image: StoredImage, manifest: ImageManifest
    ) -> Callable[[Digest], ArchivedLayer | None]:
        """Give what finds the layer that a blob of the image is made of."""
        diff_ids = dict(zip((blob.digest for blob in manifest.layers), image.diff_ids, strict=True))

        def find_layer(digest: Digest) -> ArchivedLayer | None:
            diff_id = diff_ids.get(digest, digest)
            # what is stored as it is pushed is read like any blob
            return None if diff_id == digest else next(self._source.find_layers({diff_id}), None)

        return find_layer

    def _streamed_layers(self, image: StoredImage) -> dict[Digest, Compression]:
        """Give the layers whose blobs are made, and how those are compressed."""
        compressions = self._source.layer_compressions()
        layers = zip(image.diff_ids, compressions, strict=True)
        return {layer: kind for layer, kind in layers if kind is not Compression.NONE}

    def _find_there(self, wanted: Mapping[Digest, Compression]) -> dict[Digest, Descriptor]:
        """Give those layers' blobs that the destination has."""
        candidates: dict[Digest, Descriptor] = {}
        for manifest in self._similar:
            for diff_id, blob in self._layers_of(manifest):
                compression = wanted.get(diff_id)
                if compression is not None and _compression(blob) is compression:
                    media_type = layer_media_type(compression)
                    candidates[diff_id] = Descriptor(media_type, blob.digest, blob.size_bytes)
        for diff_id, compression in wanted.items():
            made = self._made.find(self._repository, diff_id, compression)
            if made is not None:
                candidates.setdefault(diff_id, made)
        there = self._transfer.find_present(set(candidates.values()))
        return {diff_id: blob for diff_id, blob in candidates.items() if blob.digest in there}

    def _layers_of(self, manifest: ImageManifest) -> list[tuple[Digest, Descriptor]]:
        """Pair an image's layers at the destination with their diff_ids; none when in doubt."""
        config = manifest.config
        if not manifest.is_container_image or config.size_bytes > MAX_MANIFEST_BYTES:
            return []
        try:
            with self._destination.open_blob(config) as reader:
                content = read_verified(reader, config.digest, config.size_bytes)
            diff_ids = parse_config_diff_ids(content)
        except (ContentError, NotFoundError) as error:
            _LOGGER.info("an image at the destination is of no use: %s", error)
            return []
        if len(diff_ids) != len(manifest.layers):
            return []
        return list(zip(diff_ids, manifest.layers, strict=True))

    def _send(self, diff_ids: Collection[Digest]) -> dict[Digest, Descriptor]:
        blobs: dict[Digest, Descriptor] = {}

        def keep(layer: ArchivedLayer, blob: Descriptor) -> None:
            blobs[layer.diff_id] = blob
            self._made.keep(self._repository, layer.diff_id, layer.compression, blob)

        if diff_ids:
            layers = (each for each in self._source.find_layers(diff_ids) if not each.is_blob)
            self._transfer.push_streamed(layers, keep, one_by_one=self._source.is_sequential)
        return blobs


def _is_image(
    manifest: ImageManifest, image: StoredImage, compressions: Sequence[Compression]
) -> bool:
    """Tell whether an image at the destination is this one, compressed as it would be."""
    return (
        manifest.config.digest == image.config_descriptor.digest
        and len(manifest.layers) == len(compressions)
        and all(map(operator.is_, map(_compression, manifest.layers), compressions))
    )


def _compression(layer: Descriptor) -> Compression | None:
    return _COMPRESSIONS.get(layer.media_type)
