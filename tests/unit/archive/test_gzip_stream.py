from __future__ import annotations

import gzip
import random
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecr_image_replicator.archive.compression import COMPRESSION_CHUNK_BYTES
from ecr_image_replicator.archive.gzip_stream import GzipCompressor, GzipDecompressor

MIB = 1 << 20
RANDOM = random.Random(1).randbytes(MIB)
TEXT = b"".join(b"%d is a line of text\n" % number for number in range(60_000))[:MIB]


def compress(content: bytes) -> bytes:
    compressor = GzipCompressor()
    starts = range(0, len(content), COMPRESSION_CHUNK_BYTES)
    chunks = [content[start : start + COMPRESSION_CHUNK_BYTES] for start in starts]
    return b"".join(map(compressor.compress, chunks)) + compressor.flush()


@pytest.mark.parametrize(
    "content", [b"", b"x", TEXT, RANDOM, TEXT + RANDOM + TEXT + RANDOM[:100_000], bytes(MIB)]
)
def test_compressed_data_can_be_decompressed(content: bytes) -> None:
    assert gzip.decompress(compress(content)) == content


def test_compression_is_deterministic() -> None:
    assert compress(TEXT + RANDOM) == compress(TEXT + RANDOM)


def test_the_header_has_no_time_and_no_file_name() -> None:
    assert compress(b"x")[:10] == bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255])


def test_text_is_at_most_half_larger_than_with_zlib_level_1() -> None:
    assert len(compress(TEXT)) < 1.5 * len(zlib.compress(TEXT, 1))


def test_incompressible_data_has_little_overhead() -> None:
    assert len(compress(RANDOM)) < len(RANDOM) * 1.0002


_PIECES = st.tuples(st.sampled_from([TEXT, RANDOM, bytes(MIB)]), st.integers(0, 300_000))


@settings(max_examples=30, deadline=None)
@given(st.lists(_PIECES, max_size=5))
def test_any_mixture_of_data_can_be_decompressed(pieces: list[tuple[bytes, int]]) -> None:
    content = b"".join(source[:length] for source, length in pieces)
    assert gzip.decompress(compress(content)) == content


def member(flags: int, content: bytes, name: bytes = b"layer.tar") -> bytes:
    """Return a gzip member with the optional header fields of these flags (RFC 1952)."""
    header = struct.pack("<BBBBLBB", 0x1F, 0x8B, 8, flags, 0, 0, 3)
    if flags & 4:
        header += struct.pack("<H", 6) + b"BC\x02\0\x10\0"
    if flags & 8:
        header += name + b"\0"
    if flags & 16:
        header += b"a comment\0"
    if flags & 2:
        header += struct.pack("<H", zlib.crc32(header) & 0xFFFF)
    deflate = zlib.compressobj(wbits=-15)
    data = deflate.compress(content) + deflate.flush()
    return header + data + struct.pack("<LL", zlib.crc32(content), len(content))


@pytest.mark.parametrize("flags", range(0, 32, 2))
def test_a_header_may_arrive_in_pieces(flags: int) -> None:
    content = member(flags, b"a layer")
    assert gzip.decompress(content) == b"a layer"
    for size in range(1, len(content)):
        decompressor = GzipDecompressor()
        found = b""
        for start in range(0, len(content), size):
            assert decompressor.needs_input
            found += decompressor.decompress(content[start : start + size], 100)
        assert (found, decompressor.eof) == (b"a layer", True)


def test_a_header_without_an_end_is_rejected() -> None:
    decompressor = GzipDecompressor()
    assert decompressor.decompress(member(8, b"", bytes([65]) * 2**20)[: 2**20]) == b""
    with pytest.raises(ValueError, match="too long"):
        decompressor.decompress(b"A")
