"""Building an image from a config and stored layers, reading and sending as little as possible.

The destination is searched first: an image with the same config may be the image, and the configs
of the images that the resource's tag points at, or pointed at before, name the layers that their
blobs hold. A blob is used only after `layer_proofs` has proven that it holds the layer; the other
layers are read from the archive and sent.
"""

from __future__ import annotations

import logging
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.archive.compression import Compression
from ecr_image_replicator.archive.layer_proofs import VERIFIED_LAYERS, LayerClaim
from ecr_image_replicator.archive.layers import compression_of, layer_media_type
from ecr_image_replicator.copy.results import TransferReport
from ecr_image_replicator.errors import ContentError, RegistryError
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
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from ecr_image_replicator.archive.docker_save import StoredImage
    from ecr_image_replicator.archive.layer_proofs import LayerProofs
    from ecr_image_replicator.archive.layers import ArchivedLayer
    from ecr_image_replicator.archive.source import ArchiveSource
    from ecr_image_replicator.copy.ports import ReadOnlyDestination
    from ecr_image_replicator.copy.state import CopyState
    from ecr_image_replicator.copy.transfer import Transfer
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Manifest
    from ecr_image_replicator.model.platforms import Platform

_LOGGER: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image whose layers are at the destination.

    Attributes
    ----------
    manifest
        Built here, or found at the destination.
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
    """An image that a dry run did not build, so that its digest is not known.

    Attributes
    ----------
    platform
        As the config says.
    missing
        What would be sent, layers by their diff_ids and stored sizes; None when only reading the
        whole archive would tell the sizes.
    report
        The counts that building the image would come to.
    """

    platform: Platform | None
    missing: tuple[Descriptor, ...] | None
    report: TransferReport


class ImageBuilder:
    """Builds an archive's image at the destination.

    Parameters
    ----------
    source
        The archive.
    destination
        Searched for the image and its layers.
    transfer
        Sends what is missing.
    proofs
        The proofs of which blobs at the destination hold which layers.
    recorded
        Blobs that an earlier invocation of this run recorded, by diff_id; proven like any other.
    """

    def __init__(
        self,
        source: ArchiveSource,
        destination: ReadOnlyDestination,
        transfer: Transfer,
        proofs: LayerProofs,
        recorded: Mapping[Digest, Descriptor],
    ) -> None:
        self._source = source
        self._destination = destination
        self._transfer = transfer
        self._proofs = proofs
        self._recorded = recorded
        self._similar: list[ImageManifest] = []

    def prepare(
        self, image: StoredImage, state: CopyState, *, is_dry_run: bool
    ) -> BuiltImage | UnbuiltImage:
        """Find the image at the destination or build it; a dry run only plans to build it.

        Raises
        ------
        ReplicationError
            A tag may not be moved, or the image cannot be built.
        """
        found = self.find(image, state.current)
        if found is not None:
            return found
        # its digest is not known yet, but no tag points at an image with this config
        self._destination.check_tags(state.found, image.config_descriptor.digest)
        unbuilt = self.plan_changes(image) if is_dry_run else None
        return unbuilt or self.build(image)

    def find(self, image: StoredImage, current: Manifest | None) -> BuiltImage | None:
        """Find the image at the destination; None when it has to be built.

        Parameters
        ----------
        current
            What the destination's tag points at.
        """
        compressions = self._source.layer_compressions()
        for manifest in self._present(current):
            if _has_config(manifest, image, compressions):
                claims = [
                    LayerClaim(diff_id, blob, manifest)
                    for diff_id, blob in zip(image.diff_ids, manifest.layers, strict=True)
                ]
                if len(self._proofs.prove(claims)) == len({_key(claim) for claim in claims}):
                    self._transfer.set_layer_lookup(self._layer_finder(image, manifest))
                    platform = parse_config_platform(image.config)
                    return BuiltImage(manifest, platform, manifest.blobs)
            self._similar.append(manifest)
        return None

    def _present(self, current: Manifest | None) -> Iterator[ImageManifest]:
        """Yield the images that the resource's tag points at, and that it pointed at before."""
        if isinstance(current, ImageManifest):
            yield current
        digest = self._proofs.previous
        if digest is not None and (current is None or digest != current.digest):
            previous = self._destination.find_manifest(str(digest))
            if isinstance(previous, ImageManifest) and previous.digest == digest:
                yield previous

    def plan_changes(self, image: StoredImage) -> UnbuiltImage | None:
        """Return what `build` would do; None when it would read and send no layer.

        Raises
        ------
        ReplicationError
            A layer is missing, or the destination cannot be searched.
        """
        streamed = self._streamed_layers(image)
        blobs = self._find_blobs(streamed)
        at_hand = self._source.find_layers_at_hand()
        if at_hand is not None and not streamed.keys() - blobs.keys():
            return None
        layers = [layer for layer in at_hand or () if layer.diff_id not in blobs]
        verbatim = [image.config_descriptor, *(layer.stored for layer in layers if layer.is_blob)]
        there = self._transfer.find_present(verbatim)
        missing = (image.config_descriptor, *(layer.stored for layer in layers))
        missing = tuple(blob for blob in missing if blob.digest not in there)
        present = [*blobs.values(), *(blob for blob in verbatim if blob.digest in there)]
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

    def build(self, image: StoredImage) -> BuiltImage:
        """Build the image at the destination, except for its config and its manifest.

        Raises
        ------
        ReplicationError
            A layer cannot be read, does not match its diff_id, or cannot be sent.
        """
        wanted = dict.fromkeys(image.diff_ids)
        streamed = self._streamed_layers(image)
        blobs = self._find_blobs(streamed)
        _LOGGER.info("building", extra={"layers": len(wanted), "layers_present": len(blobs)})
        blobs |= self._send(streamed.keys() - blobs.keys())
        as_stored = list(self._source.find_layers(wanted.keys() - blobs.keys()))
        # a compressed archive tells how a layer is stored only when it is reached
        blobs |= self._send({layer.diff_id for layer in as_stored if not layer.is_blob})
        layers = {layer.diff_id: layer.stored for layer in as_stored} | blobs
        manifest = build_image_manifest(
            image.config_descriptor,
            [layers[diff_id] for diff_id in image.diff_ids],
            annotations=VERIFIED_LAYERS,
        )
        self._transfer.set_layer_lookup(self._layer_finder(image, manifest))
        platform = parse_config_platform(image.config)
        return BuiltImage(manifest, platform, tuple(blobs.values()))

    def _layer_finder(
        self, image: StoredImage, manifest: ImageManifest
    ) -> Callable[[Digest], ArchivedLayer | None]:
        """Return a function that finds the stored layer that a blob of the image is made from."""
        diff_ids = dict(zip((blob.digest for blob in manifest.layers), image.diff_ids, strict=True))

        def find_layer(digest: Digest) -> ArchivedLayer | None:
            diff_id = diff_ids.get(digest, digest)
            # a layer that is pushed as it is stored is read like any blob
            return None if diff_id == digest else next(self._source.find_layers({diff_id}), None)

        return find_layer

    def _streamed_layers(self, image: StoredImage) -> dict[Digest, Compression]:
        """Return the layers whose blobs are compressed, with the compression of each."""
        compressions = self._source.layer_compressions()
        layers = zip(image.diff_ids, compressions, strict=True)
        return {layer: kind for layer, kind in layers if kind is not Compression.NONE}

    def _find_blobs(self, wanted: Mapping[Digest, Compression]) -> dict[Digest, Descriptor]:
        """Return the blobs at the destination that are proven to hold the wanted layers."""
        blobs: dict[Digest, Descriptor] = {}
        claims = self._claims(wanted)
        there = self._transfer.find_present({claim.blob for claim in claims})
        claims = [claim for claim in claims if claim.blob.digest in there]
        known = [claim for claim in claims if self._proofs.is_known(claim)]
        for claim in known:
            blobs.setdefault(claim.diff_id, claim.blob)
        unknown = [claim for claim in claims if claim.diff_id not in blobs]
        for claim in self._proofs.prove(unknown):
            blobs.setdefault(claim.diff_id, claim.blob)
        return {
            diff_id: Descriptor(layer_media_type(wanted[diff_id]), blob.digest, blob.size_bytes)
            for diff_id, blob in blobs.items()
        }

    def _claims(self, wanted: Mapping[Digest, Compression]) -> list[LayerClaim]:
        """Return every claim about a wanted layer, compressed as wanted."""
        claims = [
            LayerClaim(diff_id, blob, manifest)
            for manifest in self._similar
            for diff_id, blob in self._layers_of(manifest)
        ]
        claims += [LayerClaim(diff_id, blob) for diff_id, blob in self._recorded.items()]
        for diff_id, compression in wanted.items():
            proven = self._proofs.find_proven(diff_id, compression)
            if proven is not None:
                claims.append(LayerClaim(diff_id, proven))
        return [
            claim
            for claim in claims
            if claim.diff_id in wanted and compression_of(claim.blob) is wanted[claim.diff_id]
        ]

    def _layers_of(self, manifest: ImageManifest) -> list[tuple[Digest, Descriptor]]:
        """Pair the layers of an image at the destination with the diff_ids that its config names.

        The list is empty when the config cannot be read or does not fit the manifest.
        """
        config = manifest.config
        if not manifest.is_container_image or config.size_bytes > MAX_MANIFEST_BYTES:
            return []
        try:
            with self._destination.open_blob(config) as reader:
                content = read_verified(reader, config.digest, config.size_bytes)
            diff_ids = parse_config_diff_ids(content)
        except (ContentError, RegistryError) as error:
            _LOGGER.info("an image at the destination cannot be reused: %s", error)
            return []
        if len(diff_ids) != len(manifest.layers):
            return []
        return list(zip(diff_ids, manifest.layers, strict=True))

    def _send(self, diff_ids: Collection[Digest]) -> dict[Digest, Descriptor]:
        blobs: dict[Digest, Descriptor] = {}

        def keep(layer: ArchivedLayer, blob: Descriptor) -> None:
            blobs[layer.diff_id] = blob
            self._proofs.keep(layer.diff_id, layer.compression, blob)

        if diff_ids:
            layers = (each for each in self._source.find_layers(diff_ids) if not each.is_blob)
            self._transfer.push_streamed(layers, keep, sequential=self._source.is_sequential)
        return blobs


def _key(claim: LayerClaim) -> tuple[Digest, Digest]:
    return claim.diff_id, claim.blob.digest


def _has_config(
    manifest: ImageManifest, image: StoredImage, compressions: Sequence[Compression]
) -> bool:
    """Return whether an image at the destination has this image's config and compressions."""
    return (
        manifest.config.digest == image.config_descriptor.digest
        and len(manifest.layers) == len(compressions)
        and all(map(operator.is_, map(compression_of, manifest.layers), compressions))
    )
