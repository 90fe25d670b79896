from __future__ import annotations

import bz2
import gzip
import lzma
import random
import struct
from collections.abc import Callable

import pytest
import zstandard
from tests.unit.builders import FakeReader

from ecr_image_replicator.archive import compression as compression_module
from ecr_image_replicator.archive.compression import Compression, decompressed
from ecr_image_replicator.errors import InvalidArchiveError, TransientError
from ecr_image_replicator.model.digests import ByteReader

CONTENT = random.Random(2).randbytes(100_000) + b"text " * 100_000
COMPRESS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.GZIP: gzip.compress,
    Compression.ZSTD: zstandard.ZstdCompressor(write_checksum=True).compress,
    Compression.BZIP2: bz2.compress,
    Compression.XZ: lzma.compress,
}
KINDS = list(COMPRESS)


def decompress_all(content: bytes, kind: Compression, chunk_bytes: int = 1 << 20) -> bytes:
    reader = decompressed(
        FakeReader(content, chunk_bytes=chunk_bytes),
        kind,
        size_bytes=len(content),
        what="invalid archive x",
    )
    return read_all(reader)


def read_all(reader: ByteReader) -> bytes:
    buffer, content = memoryview(bytearray(65536)), bytearray()
    while count := reader.readinto(buffer):
        content += buffer[:count]
    assert reader.readinto(buffer) == 0
    return bytes(content)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk_bytes", [1 << 20, 1000, 7])
def test_a_stream_is_decompressed_from_chunks_of_any_size(
    kind: Compression, chunk_bytes: int
) -> None:
    content = CONTENT if chunk_bytes > 7 else CONTENT[:3000]
    compressed = COMPRESS[kind](content)
    assert Compression.of(compressed) is kind
    assert decompress_all(compressed, kind, chunk_bytes) == content


@pytest.mark.parametrize("kind", KINDS)
def test_concatenated_streams_are_decompressed(kind: Compression) -> None:
    assert decompress_all(COMPRESS[kind](b"one ") + COMPRESS[kind](b"two"), kind) == b"one two"


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.BZIP2, Compression.XZ])
def test_padding_after_a_stream_is_ignored(kind: Compression) -> None:
    assert decompress_all(COMPRESS[kind](b"one") + bytes(100), kind) == b"one"


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.BZIP2, Compression.XZ])
@pytest.mark.parametrize("padding", [4, 512, 300_000])
@pytest.mark.parametrize("chunk_bytes", [1 << 20, 7])
def test_a_stream_after_padding_is_decompressed(
    kind: Compression, padding: int, chunk_bytes: int
) -> None:
    content = COMPRESS[kind](b"one ") + bytes(padding) + COMPRESS[kind](b"two")
    assert decompress_all(content, kind, chunk_bytes) == b"one two"


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.BZIP2, Compression.XZ])
def test_a_truncated_stream_is_an_error(kind: Compression) -> None:
    with pytest.raises(InvalidArchiveError, match=f"invalid archive x: {kind.value} data is "):
        decompress_all(COMPRESS[kind](CONTENT)[:-20], kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_corrupt_stream_is_an_error(kind: Compression) -> None:
    corrupt = bytearray(COMPRESS[kind](CONTENT))
    corrupt[len(corrupt) // 2] ^= 0xFF
    with pytest.raises(
        InvalidArchiveError, match=f"invalid archive x: {kind.value} data is damaged"
    ):
        decompress_all(bytes(corrupt), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_decompression_bomb_is_rejected_at_the_limit(
    kind: Compression, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression_module, "_FREE_EXPANSION_BYTES", 1 << 20)
    bomb = COMPRESS[kind](bytes(8 << 20))
    assert len(bomb) * 200 < 8 << 20
    with pytest.raises(InvalidArchiveError, match="looks like a decompression bomb"):
        decompress_all(bomb, kind)


@pytest.mark.parametrize("megabytes", [64, 80])
def test_the_window_limit_of_xz_is_its_largest_preset(megabytes: int) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": megabytes << 20}]
    content = lzma.compress(CONTENT, lzma.FORMAT_XZ, filters=filters)
    if megabytes == 64:
        assert decompress_all(content, Compression.XZ) == CONTENT
        return
    with pytest.raises(InvalidArchiveError) as caught:
        decompress_all(content, Compression.XZ)
    assert str(caught.value) == (
        "invalid archive x: xz data is damaged, or compressed with a window of more than 75497472 "
        "bytes. Compress it with a smaller window, such as that of xz -9."
    )


@pytest.mark.parametrize("window_log", [26, 27])
def test_a_zstd_window_above_64_mib_is_rejected(window_log: int) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=window_log)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    content = compressor.compress(CONTENT) + compressor.flush()
    if window_log == 26:
        assert decompress_all(content, Compression.ZSTD) == CONTENT
        return
    with pytest.raises(InvalidArchiveError, match="window, such as that of zstd --long=26"):
        decompress_all(content, Compression.ZSTD)


def test_an_error_of_the_underlying_reader_is_raised_unchanged() -> None:
    class FailingReader:
        def readinto(self, _buffer: memoryview, /) -> int:
            raise TransientError("connection reset")

    for kind in KINDS:
        reader = decompressed(FailingReader(), kind, size_bytes=1, what="x")
        with pytest.raises(TransientError):
            reader.readinto(memoryview(bytearray(10)))


@pytest.mark.parametrize("content", [b"", b"\x1f", struct.pack("<I", 1), b"plain text"])
def test_uncompressed_content_has_compression_none(content: bytes) -> None:
    assert Compression.of(content) is Compression.NONE
