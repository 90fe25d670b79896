from __future__ import annotations

import gzip
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecr_image_replicator.archive.compression import COMPRESSION_CHUNK_BYTES
from ecr_image_replicator.archive.gzip_stream import GzipCompressor

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
