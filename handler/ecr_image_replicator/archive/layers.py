"""Making blobs of an archive's layers while they are sent: compressed, or verified as they are.

OCI image specification 1.1, "Image Layer Filesystem Changeset".
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.archive.compression import (
    COMPRESSION_CHUNK_BYTES,
    HEAD_BYTES,
    MAX_WINDOW_BYTES,
    USUAL_WINDOW_BYTES,
    Compression,
    decompressed,
    new_compressor,
    window_bytes,
)
from ecr_image_replicator.archive.tar_headers import quote
from ecr_image_replicator.errors import DigestMismatchError
from ecr_image_replicator.model.digests import Digest, VerifiedStream
from ecr_image_replicator.model.manifests import DOCKER_LAYER, OCI_LAYER, Descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ecr_image_replicator.archive.tar_index import Member, TarIndex
    from ecr_image_replicator.copy.ports import StreamedBlob
    from ecr_image_replicator.model.digests import ByteReader

_SUFFIXES: Final = {
    Compression.NONE: "",
    Compression.GZIP: "+gzip",
    Compression.ZSTD: "+zstd",
}
_DECLARED: Final = {
    **{f"{OCI_LAYER}{suffix}": compression for compression, suffix in _SUFFIXES.items()},
    DOCKER_LAYER: Compression.NONE,
    f"{DOCKER_LAYER}.gzip": Compression.GZIP,
    f"{DOCKER_LAYER}.zstd": Compression.ZSTD,
}
#: Of compressed bytes without output, such as the table of contents of zstd:chunked.
_MAX_TAP_BYTES: Final = 32 * 1024 * 1024


def layer_media_type(compression: Compression) -> str:
    """Return the media type of a layer with this compression."""
    return OCI_LAYER + _SUFFIXES[compression]


def compression_of(layer: Descriptor) -> Compression | None:
    """Return how a layer's media type says it is compressed; None for an unknown media type."""
    return _DECLARED.get(layer.media_type)


@dataclass(frozen=True, slots=True)
class ArchivedLayer:
    """A layer in an archive.

    Attributes
    ----------
    diff_id
        Of the uncompressed layer.
    wanted
        How the blob is compressed if the layer is stored uncompressed.
    wide_window
        Held while a layer with a wide window is decompressed, since memory allows only one.
    """

    index: TarIndex
    member: Member
    diff_id: Digest
    stored_compression: Compression
    wanted: Compression
    wide_window: threading.Lock = field(repr=False, compare=False)

    @property
    def compression(self) -> Compression:
        """How the blob is compressed."""
        is_stored_so = self.stored_compression is not Compression.NONE
        return self.stored_compression if is_stored_so else self.wanted

    @property
    def stored(self) -> Descriptor:
        """The stored file as a descriptor: its size, and the layer's diff_id as digest."""
        media_type = layer_media_type(self.stored_compression)
        return Descriptor(media_type, self.diff_id, self.member.size_bytes)

    @property
    def is_blob(self) -> bool:
        """Whether the layer is pushed uncompressed, so that its diff_id is the blob's digest."""
        return self.compression is Compression.NONE

    @property
    def most_window_bytes(self) -> int:
        """The largest window that decompressing may use, by the first frame."""
        is_usual = window_bytes(self.member.head[:HEAD_BYTES]) <= USUAL_WINDOW_BYTES
        return USUAL_WINDOW_BYTES if is_usual else MAX_WINDOW_BYTES

    @contextmanager
    def open_blob(
        self, *, buffer: memoryview, on_bytes: Callable[[int], None]
    ) -> Iterator[StreamedBlob]:
        """Start making the blob; a layer with a wide window waits for the others."""
        media_type = layer_media_type(self.compression)
        is_usual = self.most_window_bytes == USUAL_WINDOW_BYTES
        # waits before the archive is opened, so that no connection is idle meanwhile
        with (
            nullcontext() if is_usual else self.wide_window,
            self.index.open(self.member) as reader,
        ):
            if self.stored_compression is Compression.NONE:
                yield _CompressedLayer(reader, self, media_type, buffer, on_bytes)
            else:
                yield _VerbatimLayer(reader, self, media_type, buffer, on_bytes)

    @property
    def name(self) -> str:
        """The name of the layer's file, quoted for messages."""
        return quote(self.member.name)

    def mismatch(self, found: str) -> DigestMismatchError:
        """Return the error for a layer that does not match its diff_id."""
        invalid = self.index.invalid(
            f"the layer {self.name} does not match its diff_id in the config: {found}"
        )
        return DigestMismatchError(*invalid.message)


def find_archived_layer(
    index: TarIndex,
    member: Member,
    diff_id: Digest,
    wanted: Compression,
    wide_window: threading.Lock,
) -> ArchivedLayer:
    """Return a layer, whose first bytes tell how it is compressed.

    Raises
    ------
    InvalidArchiveError
        The layer's compression is unsupported.
    """
    compression = Compression.of(member.head)
    if compression not in _SUFFIXES:
        raise index.invalid(
            f"the layer {quote(member.name)} has the unsupported compression {compression.value}",
            hint="Compress layers with gzip or zstd, or store them uncompressed.",
        )
    return ArchivedLayer(index, member, diff_id, compression, wanted, wide_window)


class _Blob:
    """The digest and size of a blob that is being made."""

    def __init__(self, media_type: str) -> None:
        self._media_type = media_type
        self._hasher = hashlib.sha256()
        self._size_bytes = 0

    def descriptor(self) -> Descriptor:
        digest = Digest("sha256", self._hasher.hexdigest())
        return Descriptor(self._media_type, digest, self._size_bytes)

    def _counted(self, content: bytes) -> bytes:
        self._hasher.update(content)
        self._size_bytes += len(content)
        return content


class _CompressedLayer(_Blob):
    """A layer that is stored uncompressed."""

    def __init__(
        self,
        reader: ByteReader,
        layer: ArchivedLayer,
        media_type: str,
        buffer: memoryview,
        on_bytes: Callable[[int], None],
    ) -> None:
        super().__init__(media_type)
        self._layer = layer
        self._stored = VerifiedStream(
            _Filled(reader),
            layer.diff_id,
            layer.member.size_bytes,
            # whole chunks, so that the same layer always gives the same blob
            buffer=buffer[: len(buffer) // COMPRESSION_CHUNK_BYTES * COMPRESSION_CHUNK_BYTES],
            on_bytes=on_bytes,
        )

    def __iter__(self) -> Iterator[bytes]:
        compressor = new_compressor(self._layer.compression)
        try:
            for view in self._stored:
                for start in range(0, len(view), COMPRESSION_CHUNK_BYTES):
                    chunk = view[start : start + COMPRESSION_CHUNK_BYTES]
                    if output := compressor.compress(chunk):
                        yield self._counted(output)
        except DigestMismatchError as error:
            raise self._layer.mismatch("".join(map(str, error.message))) from error
        yield self._counted(compressor.flush())


class _VerbatimLayer(_Blob):
    """A layer that is stored compressed: sent as it is, and decompressed to verify its diff_id."""

    def __init__(
        self,
        reader: ByteReader,
        layer: ArchivedLayer,
        media_type: str,
        buffer: memoryview,
        on_bytes: Callable[[int], None],
    ) -> None:
        super().__init__(media_type)
        self._layer = layer
        self._tap = _Tap(reader, layer, on_bytes)
        self._buffer = buffer

    def __iter__(self) -> Iterator[bytes]:
        last = b""
        for piece in self._pieces():
            if last:
                yield self._counted(last)
            last = piece
        yield self._counted(last)

    def _pieces(self) -> Iterator[bytes]:
        """Yield the stored bytes, and compare the layer with its diff_id at their end."""
        layer = self._layer
        inflated = decompressed(
            self._tap,
            layer.stored_compression,
            size_bytes=layer.member.size_bytes,
            what=f"invalid archive {layer.index.location}: the layer {layer.name}",
            most_window_bytes=layer.most_window_bytes,
        )
        hasher = layer.diff_id.new_hasher()
        for reader in (inflated, self._tap):  # padding after the stream belongs to the blob too
            is_at_end = False
            while not is_at_end:
                count = reader.readinto(self._buffer)
                is_at_end = not count
                if reader is inflated:
                    hasher.update(self._buffer[:count])
                # also at the end: trailers and empty streams are read without output
                yield from self._tap.taken()
        if hasher.hexdigest() != layer.diff_id.encoded:
            found = f"{layer.diff_id.algorithm}:{hasher.hexdigest()}"
            raise layer.mismatch(f"digest mismatch, expected {layer.diff_id}, received {found}")


class _Filled:
    """A reader that fills each buffer completely."""

    def __init__(self, reader: ByteReader) -> None:
        self._reader = reader

    def readinto(self, buffer: memoryview, /) -> int:
        count = 0
        while count < len(buffer) and (more := self._reader.readinto(buffer[count:])):
            count += more
        return count


class _Tap:
    """A reader that keeps what it read until `taken` returns it, up to `_MAX_TAP_BYTES`."""

    def __init__(
        self, reader: ByteReader, layer: ArchivedLayer, on_bytes: Callable[[int], None]
    ) -> None:
        self._reader = reader
        self._layer = layer
        self._on_bytes = on_bytes
        self._pieces: list[bytes] = []
        self._kept_bytes = 0

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._reader.readinto(buffer)
        if count:
            self._kept_bytes += count
            if self._kept_bytes > _MAX_TAP_BYTES:
                raise self._layer.index.invalid(
                    f"the layer {self._layer.name} has more than {_MAX_TAP_BYTES} bytes that "
                    "decompress to nothing"
                )
            self._pieces.append(bytes(buffer[:count]))
            self._on_bytes(count)
        return count

    def taken(self) -> list[bytes]:
        pieces, self._pieces, self._kept_bytes = self._pieces, [], 0
        return pieces
