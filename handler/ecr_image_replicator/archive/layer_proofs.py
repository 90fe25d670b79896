"""Proving that a blob at the destination holds a layer, before the blob stands for it.

A config at the destination only claims which layer each blob holds: whoever can push there can
claim anything. A claim is believed if the blob's digest is the diff_id, if this process has proven
it, if the resource's previous run has, or if the blob is read back and decompresses to the layer.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.archive.compression import (
    USUAL_WINDOW_BYTES,
    Compression,
    decompressed,
)
from ecr_image_replicator.archive.layers import compression_of
from ecr_image_replicator.errors import (
    AwsError,
    ContentError,
    DigestMismatchError,
    RegistryError,
)
from ecr_image_replicator.model.archive_references import is_archive_reference

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from contextlib import AbstractContextManager

    from ecr_image_replicator.archive.layer_cache import LayerCache
    from ecr_image_replicator.copy.transfer import Transfer
    from ecr_image_replicator.model.digests import ByteReader, Digest
    from ecr_image_replicator.model.manifests import Descriptor, ImageManifest

_LOGGER: Final = logging.getLogger(__name__)

#: Of manifests that this program builds, or has verified in an OCI layout.
VERIFIED_LAYERS: Final = {"ecr-image-replicator.layers": "verified"}


def has_verified_layers(manifest: ImageManifest) -> bool:
    """Return whether a manifest says that this program has verified its layers."""
    return manifest.annotations.items() >= VERIFIED_LAYERS.items()


@dataclass(frozen=True, slots=True)
class LayerClaim:
    """The claim that a blob at the destination holds a layer.

    Attributes
    ----------
    diff_id
        The layer.
    blob
        The blob; its media type says how it is compressed.
    manifest
        The image at the destination that makes the claim; None for a continuation's record.
    """

    diff_id: Digest
    blob: Descriptor
    manifest: ImageManifest | None = None


class LayerProofs:
    """Tells which claims about blobs at the destination are true.

    Parameters
    ----------
    repository
        The destination's name, for the cache.
    cache
        The process's proven layers.
    transfer
        Reads blobs back from the destination.
    previous
        The digest of the manifest that the resource's previous version has put there, if known.
    previous_source
        Where that came from; "" if unknown. Of an archive's image this program has verified the
        layers.
    """

    def __init__(
        self,
        repository: str,
        cache: LayerCache,
        transfer: Transfer,
        previous: Digest | None = None,
        previous_source: str = "",
    ) -> None:
        self._repository = repository
        self._cache = cache
        self._transfer = transfer
        self.previous: Final = previous
        self._was_archive = is_archive_reference(previous_source)
        self._refuted: set[tuple[Digest, Digest]] = set()

    def find_proven(self, diff_id: Digest, compression: Compression) -> Descriptor | None:
        """Return the blob that this process has proven to hold a layer; None when there is none."""
        return self._cache.find(self._repository, diff_id, compression)

    def keep(self, diff_id: Digest, compression: Compression, blob: Descriptor) -> None:
        """Remember a blob that was made from a verified layer."""
        self._cache.keep(self._repository, diff_id, compression, blob)

    def is_known(self, claim: LayerClaim) -> bool:
        """Return whether a claim is true without reading the blob."""
        compression = compression_of(claim.blob)
        if compression is None:
            return False
        if compression is Compression.NONE and claim.blob.digest == claim.diff_id:
            return True
        proven = self.find_proven(claim.diff_id, compression)
        if proven is not None and proven.digest == claim.blob.digest:
            return True
        manifest = claim.manifest
        return (
            manifest is not None
            and self._was_archive
            and manifest.digest == self.previous
            and has_verified_layers(manifest)
        )

    def prove(self, claims: Iterable[LayerClaim]) -> list[LayerClaim]:
        """Return the claims that are true, each once, reading back the blobs of unknown ones.

        Several blobs are read at a time, and nothing is read from the archive.
        """
        known: dict[tuple[Digest, Digest], LayerClaim] = {}
        unknown: dict[tuple[Digest, Digest], LayerClaim] = {}
        for claim in claims:
            key = claim.diff_id, claim.blob.digest
            if self.is_known(claim):
                known[key] = claim
            elif key not in self._refuted:
                unknown[key] = claim
        return [*known.values(), *self._read_back(unknown.values())]

    def _read_back(self, claims: Collection[LayerClaim]) -> list[LayerClaim]:
        if not claims:
            return []
        _LOGGER.info("verifying layers at the destination", extra={"layers": len(claims)})
        results = self._transfer.read_present(
            [(claim.blob, claim) for claim in claims], self._is_true
        )
        proven = []
        for claim, is_true in zip(claims, results, strict=True):
            compression = compression_of(claim.blob)
            if is_true and compression is not None:
                self.keep(claim.diff_id, compression, claim.blob)
                proven.append(claim)
            else:
                self._refuted.add((claim.diff_id, claim.blob.digest))
        return proven

    def _is_true(
        self, claim: LayerClaim, opened: AbstractContextManager[ByteReader], buffer: memoryview
    ) -> bool:
        """Decompress a blob and compare blob and layer with their digests."""
        try:
            with opened as reader:
                verify_layer(reader, claim.blob, claim.diff_id, buffer)
        except ContentError as error:
            _LOGGER.warning(
                "a blob at the destination does not hold the layer that its image names: %s", error
            )
        except (RegistryError, AwsError) as error:
            _LOGGER.warning("a blob at the destination cannot be read back: %s", error)
        else:
            return True
        return False


def verify_layer(reader: ByteReader, blob: Descriptor, diff_id: Digest, buffer: memoryview) -> None:
    """Read a layer's blob to its end and compare it with its digest, size and diff_id.

    Raises
    ------
    DigestMismatchError
        The blob has another digest or size, or decompresses to another layer.
    InvalidArchiveError
        The blob cannot be decompressed within bounds.
    """
    compression = compression_of(blob)
    if compression is None:
        raise DigestMismatchError(
            f"digest mismatch: the blob {blob.digest} has the media type {blob.media_type}, which "
            "is no layer's"
        )
    stored = _HashingReader(reader, blob.digest)
    layer = decompressed(
        stored,
        compression,
        size_bytes=blob.size_bytes,
        what=f"invalid layer {blob.digest}",
        most_window_bytes=USUAL_WINDOW_BYTES,
    )
    hasher = diff_id.new_hasher()
    while count := layer.readinto(buffer):
        hasher.update(buffer[:count])
    while stored.readinto(buffer):
        pass  # a decompressor may stop before the blob does
    if stored.hexdigest() != blob.digest.encoded or stored.size_bytes != blob.size_bytes:
        raise DigestMismatchError(
            f"digest mismatch: expected the blob {blob.digest} of {blob.size_bytes} bytes, got "
            f"{blob.digest.algorithm}:{stored.hexdigest()} of {stored.size_bytes} bytes"
        )
    if hasher.hexdigest() != diff_id.encoded:
        raise DigestMismatchError(
            f"digest mismatch: expected the layer {diff_id} in the blob {blob.digest}, got "
            f"{diff_id.algorithm}:{hasher.hexdigest()}"
        )


class _HashingReader:
    """A reader that hashes and counts what passes."""

    def __init__(self, reader: ByteReader, digest: Digest) -> None:
        self._reader = reader
        self._hasher = digest.new_hasher()
        self.size_bytes = 0

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._reader.readinto(buffer)
        self._hasher.update(buffer[:count])
        self.size_bytes += count
        return count

    def hexdigest(self) -> str:
        return self._hasher.hexdigest()
