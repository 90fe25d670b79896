"""Layers: tar archives of pseudo-random files, compressed or not (OCI image specification)."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
from dataclasses import dataclass, field
from typing import Any, Literal

from local.registry.digests import Digest, digest_of

Compression = Literal["gzip", "zstd", "none"]

_FILES = 4
_ZSTD_MAGIC = 0xFD2FB528
_ZSTD_BLOCK_LIMIT_BYTES = 128 * 1024
_SUFFIXES = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer's blob. With `urls` it is a foreign layer, which is not pushed."""

    content: bytes = field(repr=False)
    digest: Digest
    diff_id: Digest
    compression: Compression
    urls: tuple[str, ...] = ()

    def media_type(self, format: Literal["oci", "docker"]) -> str:  # noqa: A002 - as skopeo names it
        """Return the media type in a manifest of a format.

        Raises
        ------
        ValueError
            Docker's manifests have media types for gzip and for uncompressed layers only.
        """
        if format == "oci":
            kind = "layer.nondistributable" if self.urls else "layer"
            return f"application/vnd.oci.image.{kind}.v1.tar{_SUFFIXES[self.compression]}"
        if self.compression == "gzip":
            kind = "rootfs.foreign" if self.urls else "rootfs"
            return f"application/vnd.docker.image.{kind}.diff.tar.gzip"
        if self.compression == "none" and not self.urls:
            return "application/vnd.docker.image.rootfs.diff.tar"
        message = f"a Docker manifest has no media type for this {self.compression} layer"
        raise ValueError(message)

    def descriptor(self, format: Literal["oci", "docker"]) -> dict[str, Any]:  # noqa: A002 - as skopeo names it
        """Return the layer's descriptor in a manifest of this format."""
        descriptor: dict[str, Any] = {
            "mediaType": self.media_type(format),
            "digest": self.digest,
            "size": len(self.content),
        }
        if self.urls:
            descriptor["urls"] = list(self.urls)
        return descriptor


def build_layer(
    size_bytes: int,
    seed: int = 0,
    compression: Compression = "gzip",
    *,
    urls: tuple[str, ...] = (),
) -> Layer:
    """Return a layer of four files with `size_bytes` of content between them.

    The content is random, so the blob is about as large. `zstd` creates a valid frame of
    uncompressed blocks.
    """
    archive = _archive(size_bytes, seed)
    if compression == "gzip":
        content = gzip.compress(archive, compresslevel=1, mtime=0)
    elif compression == "zstd":
        content = _stored_zstd_frame(archive)
    else:
        content = archive
    return Layer(content, digest_of(content), digest_of(archive), compression, urls)


def _archive(size_bytes: int, seed: int) -> bytes:
    generator = random.Random(seed)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        directory = tarfile.TarInfo(f"layer-{seed}")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(directory)
        for number in range(_FILES):
            size = size_bytes // _FILES + (size_bytes % _FILES if number == 0 else 0)
            file = tarfile.TarInfo(f"layer-{seed}/file-{number}")
            file.size, file.mode = size, 0o644
            tar.addfile(file, io.BytesIO(generator.randbytes(size)))
    return archive.getvalue()


def _stored_zstd_frame(content: bytes) -> bytes:
    """Return a Zstandard frame of raw blocks (RFC 8878, section 3.1)."""
    single_segment_with_8_byte_size = 0b11100000
    frame = bytearray(
        struct.pack("<IBQ", _ZSTD_MAGIC, single_segment_with_8_byte_size, len(content))
    )
    starts = range(0, max(1, len(content)), _ZSTD_BLOCK_LIMIT_BYTES)
    for start in starts:
        block = content[start : start + _ZSTD_BLOCK_LIMIT_BYTES]
        is_last = start == starts[-1]
        frame += (len(block) << 3 | is_last).to_bytes(3, "little") + block
    return bytes(frame)
