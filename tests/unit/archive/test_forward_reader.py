from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import zstandard
from tests.unit.archives import MemoryObject, tar

from ecr_image_replicator.archive.compression import Compression
from ecr_image_replicator.archive.forward_reader import ForwardReader
from ecr_image_replicator.archive.tar_index import TarIndex
from ecr_image_replicator.errors import InvalidArchiveError, TransientError
from ecr_image_replicator.model.digests import ByteReader, BytesReader

MIB = 1024 * 1024
#: Incompressible: the decompressor reads as many bytes as it returns.
CONTENT = random.Random(3).randbytes(4 * MIB)
STORED = gzip.compress(CONTENT, 1)


class CountingObject(MemoryObject):
    """An object that counts the bytes read, and fails once at a position."""

    def __init__(self, content: bytes, fails_after: int | None = None) -> None:
        super().__init__(content)
        self.size_bytes = len(content)
        self.bytes_counted = 0
        self.opened = 0
        self.fails_after = fails_after

    @contextmanager
    def open_range(self, offset: int, length: int) -> Iterator[ByteReader]:
        self.opened += 1
        yield _CountingReader(self, self.content[offset : offset + length])


class _CountingReader:
    def __init__(self, object_: CountingObject, content: bytes) -> None:
        self._object = object_
        self._reader = BytesReader(content)

    def readinto(self, buffer: memoryview, /) -> int:
        if self._object.fails_after is not None and self._object.bytes_counted > (
            self._object.fails_after
        ):
            self._object.fails_after = None
            raise TransientError("connection reset")
        count = self._reader.readinto(buffer)
        self._object.bytes_counted += count
        return count


def open_reader(stored: CountingObject) -> ForwardReader:
    return ForwardReader(stored, Compression.GZIP, "s3://bucket/key")


def test_the_reader_reads_only_the_requested_bytes() -> None:
    stored = CountingObject(STORED)
    with closing(open_reader(stored)) as reader:
        assert reader.read_range(0, 100) == CONTENT[:100]
    # one input block of the decompressor
    assert stored.bytes_counted <= 128 * 1024


def test_reading_an_earlier_offset_restarts_the_stream() -> None:
    stored = CountingObject(STORED)
    with closing(open_reader(stored)) as reader:
        assert reader.read_range(2 * MIB, 100) == CONTENT[2 * MIB : 2 * MIB + 100]
        assert reader.read_range(3 * MIB, 100) == CONTENT[3 * MIB : 3 * MIB + 100]
        assert stored.opened == 1
        with reader.open_range(MIB, 2 * MIB) as part:
            buffer = memoryview(bytearray(100_000))
            found = b"".join(iter(lambda: bytes(buffer[: part.readinto(buffer)]), b""))
        assert found == CONTENT[MIB : 3 * MIB]
        assert stored.opened == 2


def test_the_size_is_known_after_the_last_byte() -> None:
    with closing(open_reader(CountingObject(STORED))) as reader:
        assert reader.size_bytes is None
        assert reader.read_range(len(CONTENT) - 5, 10) == CONTENT[-5:]
        assert reader.size_bytes == len(CONTENT)


def test_a_failed_read_restarts_the_stream() -> None:
    stored = CountingObject(STORED, fails_after=MIB)
    with closing(open_reader(stored)) as reader:
        with pytest.raises(TransientError, match="connection reset"):
            reader.read_range(0, len(CONTENT))
        assert reader.read_range(0, len(CONTENT)) == CONTENT
    assert stored.opened == 2


def test_a_truncated_object_is_an_error_after_its_last_byte() -> None:
    stored = CountingObject(STORED[: len(STORED) // 2])
    with closing(open_reader(stored)) as reader:
        assert reader.read_range(0, MIB) == CONTENT[:MIB]
        with pytest.raises(InvalidArchiveError, match="gzip data is truncated"):
            reader.read_range(MIB, len(CONTENT))


def test_an_archive_truncated_between_two_zstd_blocks_is_an_error() -> None:
    compressed = zstandard.compress(tar(("layer", CONTENT[:MIB]), ("manifest.json", b"[]")))
    stored = CountingObject(compressed[: len(compressed) // 2])
    with closing(ForwardReader(stored, Compression.ZSTD, "s3://bucket/key")) as reader:
        index = TarIndex(reader, "s3://bucket/key")
        with pytest.raises(InvalidArchiveError, match="truncated within 'layer'"):
            index.find("manifest.json")
