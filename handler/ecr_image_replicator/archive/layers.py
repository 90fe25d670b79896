"""Blobs made of stored layers while they are sent: compressed on the way, or verified as they are.

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
from ecr_image_replicator.archive.tar_headers import shown
from ecr_image_replicator.errors import DigestMismatchError, InvalidArchiveError
from ecr_image_replicator.model.digests import Digest, VerifiedStream
from ecr_image_replicator.model.manifests import OCI_LAYER, Descriptor

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


def layer_media_type(compression: Compression) -> str:
    """Give the media type of a layer that is compressed so."""
    return OCI_LAYER + _SUFFIXES[compression]


@dataclass(frozen=True, slots=True)
class ArchivedLayer:
    """A layer in an archive.

    Attributes
    ----------
    diff_id
        Of the uncompressed layer.
    wanted
        How the blob is to be compressed if the layer is not compressed yet.
    turn
        Held by the one of the archive's layers that may have a wide window.
    """

    index: TarIndex
    location: str
    member: Member
    diff_id: Digest
    stored_compression: Compression
    wanted: Compression
    turn: threading.Lock = field(repr=False, compare=False)

    @property
    def compression(self) -> Compression:
        """How the blob will be compressed."""
        is_stored_so = self.stored_compression is not Compression.NONE
        return self.stored_compression if is_stored_so else self.wanted

    @property
    def stored(self) -> Descriptor:
        """What is stored, by its diff_id and the size that it is stored in."""
        media_type = layer_media_type(self.stored_compression)
        return Descriptor(media_type, self.diff_id, self.member.size_bytes)

    @property
    def is_blob(self) -> bool:
        """True when the layer is pushed as it is, so that its diff_id is its digest."""
        return self.compression is Compression.NONE

    @property
    def most_window_bytes(self) -> int:
        """The memory that decompressing it may take, by its first frame."""
        is_usual = window_bytes(self.member.head[:HEAD_BYTES]) <= USUAL_WINDOW_BYTES
        return USUAL_WINDOW_BYTES if is_usual else MAX_WINDOW_BYTES

    @contextmanager
    def open_blob(
        self, *, buffer: memoryview, on_bytes: Callable[[int], None]
    ) -> Iterator[StreamedBlob]:
        """Start making the blob; one with a wide window waits till no other has one."""
        media_type = layer_media_type(self.compression)
        is_usual = self.most_window_bytes == USUAL_WINDOW_BYTES
        # before anything is asked for: no connection is open meanwhile
        with nullcontext() if is_usual else self.turn, self.index.open(self.member) as reader:
            if self.stored_compression is Compression.NONE:
                yield _CompressedLayer(reader, self, media_type, buffer, on_bytes)
            else:
                yield _VerbatimLayer(reader, self, media_type, buffer, on_bytes)

    def mismatch(self, found: str) -> DigestMismatchError:
        """Say that the layer is not the one that the config names."""
        return DigestMismatchError(
            f"the layer {shown(self.member.name)} of the archive {self.location} is not the one "
            f"of the diff_id {self.diff_id} that the image's config names: {found}"
        )


def archived_layer(
    index: TarIndex,
    location: str,
    member: Member,
    diff_id: Digest,
    wanted: Compression,
    turn: threading.Lock,
) -> ArchivedLayer:
    """Describe a layer, whose first bytes tell how it is compressed.

    Raises
    ------
    InvalidArchiveError
        It is compressed in a way that no registry takes.
    """
    compression = Compression.of(member.head)
    if compression not in _SUFFIXES:
        raise InvalidArchiveError(
            f"the layer {shown(member.name)} of the archive {location} is compressed with "
            f"{compression.value}, which images cannot have; gzip and zstd are taken"
        )
    return ArchivedLayer(index, location, member, diff_id, compression, wanted, turn)


class _Blob:
    """What a growing blob comes to."""

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
            # whole chunks, so that the same layer always makes the same blob
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
            raise self._layer.mismatch(str(error)) from error
        yield self._counted(compressor.flush())


class _VerbatimLayer(_Blob):
    """A layer that is stored compressed, decompressed beside it for its diff_id."""

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
        self._tap = _Tap(reader, on_bytes)
        self._buffer = buffer

    def __iter__(self) -> Iterator[bytes]:
        layer, last = self._layer, b""
        inflated = decompressed(
            self._tap,
            layer.stored_compression,
            size_bytes=layer.member.size_bytes,
            what=f"the layer {shown(layer.member.name)} of the archive {layer.location}",
            most_window_bytes=layer.most_window_bytes,
        )
        hasher = layer.diff_id.new_hasher()
        for reader in (inflated, self._tap):  # what follows the stream belongs to the blob too
            while count := reader.readinto(self._buffer):
                if reader is inflated:
                    hasher.update(self._buffer[:count])
                for piece in self._tap.taken():
                    if last:
                        yield self._counted(last)
                    last = piece
        if hasher.hexdigest() != layer.diff_id.encoded:
            found = f"{layer.diff_id.algorithm}:{hasher.hexdigest()}"
            raise layer.mismatch(f"it hashes to {found}; the archive is corrupt")
        yield self._counted(last)


class _Filled:
    """Fills every buffer, however the bytes arrive."""

    def __init__(self, reader: ByteReader) -> None:
        self._reader = reader

    def readinto(self, buffer: memoryview, /) -> int:
        count = 0
        while count < len(buffer) and (more := self._reader.readinto(buffer[count:])):
            count += more
        return count


class _Tap:
    """Keeps what passes until it is taken."""

    def __init__(self, reader: ByteReader, on_bytes: Callable[[int], None]) -> None:
        self._reader = reader
        self._on_bytes = on_bytes
        self._pieces: list[bytes] = []

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._reader.readinto(buffer)
        if count:
            self._pieces.append(bytes(buffer[:count]))
            self._on_bytes(count)
        return count

    def taken(self) -> list[bytes]:
        pieces, self._pieces = self._pieces, []
        return pieces
