from __future__ import annotations

import gzip
import random
import struct
import threading

import pytest
import zstandard
from tests.unit.archives import MemoryObject, tar

from ecr_image_replicator.archive import layers as layers_module
from ecr_image_replicator.archive.compression import Compression
from ecr_image_replicator.archive.layers import find_archived_layer
from ecr_image_replicator.archive.tar_headers import BLOCK_BYTES
from ecr_image_replicator.archive.tar_index import PAGE_BYTES, TarIndex
from ecr_image_replicator.copy.transfer import DEFAULT_BUFFER_BYTES
from ecr_image_replicator.errors import InvalidArchiveError
from ecr_image_replicator.model.digests import Digest

LAYER = random.Random(3).randbytes(DEFAULT_BUFFER_BYTES)


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


def skippable(size_bytes: int) -> bytes:
    return struct.pack("<II", 0x184D2A50, size_bytes) + bytes(size_bytes)


def make_blob(stored: bytes, layer: bytes) -> tuple[bytes, Digest]:
    """Store a compressed layer in an archive, and make its blob."""
    index = TarIndex(MemoryObject(tar(("layer", stored))), "s3://bucket/key")
    member = index.find("layer")
    assert member is not None
    archived = find_archived_layer(
        index, member, Digest.of(layer), Compression.GZIP, threading.Lock()
    )
    buffer = memoryview(bytearray(DEFAULT_BUFFER_BYTES))
    with archived.open_blob(buffer=buffer, on_bytes=lambda _: None) as stream:
        content = b"".join(bytes(piece) for piece in stream)
        return content, stream.descriptor().digest


@pytest.mark.parametrize(
    ("stored", "layer"),
    [
        pytest.param(gzip.compress(b""), b"", id="gzip of nothing"),
        pytest.param(zstd(b""), b"", id="zstd of nothing"),
        pytest.param(gzip.compress(LAYER) + gzip.compress(b"") * 9000, LAYER, id="empty members"),
        pytest.param(zstd(LAYER) + skippable(300_000), LAYER, id="zstd:chunked"),
    ],
)
def test_a_compressed_layer_is_sent_to_its_last_byte(stored: bytes, layer: bytes) -> None:
    content, digest = make_blob(stored, layer)
    assert content == stored
    assert digest == Digest.of(stored)


def test_the_trailer_of_a_gzip_layer_is_sent_wherever_a_read_ends() -> None:
    end_of_read = PAGE_BYTES - BLOCK_BYTES + 2 * 128 * 1024
    for length in range(end_of_read - 60, end_of_read):
        stored = gzip.compress(LAYER[:length], 0)
        assert make_blob(stored, LAYER[:length])[0] == stored


def test_memory_for_bytes_without_content_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers_module, "_MAX_TAP_BYTES", 1_000_000)
    make_blob(skippable(400_000) + zstd(LAYER), LAYER)
    with pytest.raises(InvalidArchiveError, match="1000000 bytes that decompress to nothing"):
        make_blob(skippable(1_100_000) + zstd(LAYER), LAYER)
