from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from tests.unit.archives import MemoryObject

from ecr_image_replicator.archive.compression import Compression
from ecr_image_replicator.archive.forward_reader import ForwardReader
from ecr_image_replicator.errors import InvalidArchiveError, TransientError
from ecr_image_replicator.model.digests import ByteReader, BytesReader

MIB = 1024 * 1024
#: Incompressible, so that the decompressor reads as much as it returns.
CONTENT = random.Random(3).randbytes(4 * MIB)
STORED = gzip.compress(CONTENT, 1)


class Taken(MemoryObject):
    """An object that counts the bytes read from it, and breaks off at a position."""

    def __init__(self, content: bytes, breaks_after: int | None = None) -> None:
        super().__init__(content)
        self.size_bytes = len(content)
        self.taken = 0
        self.passes = 0
        self.breaks_after = breaks_after

    @contextmanager
    def open_range(self, offset: int, length: int) -> Iterator[ByteReader]:
        self.passes += 1
        yield _Counting(self, self.content[offset : offset + length])


class _Counting:
    def __init__(self, counted: Taken, content: bytes) -> None:
        self._counted = counted
        self._reader = BytesReader(content)

    def readinto(self, buffer: memoryview, /) -> int:
        if self._counted.breaks_after is not None and self._counted.taken > (
            self._counted.breaks_after
        ):
            self._counted.breaks_after = None
            raise TransientError("broke off")
        count = self._reader.readinto(buffer)
        self._counted.taken += count
        return count


def forward(stored: Taken) -> ForwardReader:
    return ForwardReader(stored, Compression.GZIP, "s3://bucket/key")


def test_the_reader_reads_only_the_requested_bytes() -> None:
    stored = Taken(STORED)
    with closing(forward(stored)) as reader:
        assert reader.read_range(0, 100) == CONTENT[:100]
    # the block that the decompressor was given
    assert stored.taken <= 128 * 1024


def test_reading_back_starts_again() -> None:
    stored = Taken(STORED)
    with closing(forward(stored)) as reader:
        assert reader.read_range(2 * MIB, 100) == CONTENT[2 * MIB : 2 * MIB + 100]
        assert reader.read_range(3 * MIB, 100) == CONTENT[3 * MIB : 3 * MIB + 100]
        assert stored.passes == 1
        with reader.open_range(MIB, 2 * MIB) as part:
            buffer = memoryview(bytearray(100_000))
            found = b"".join(iter(lambda: bytes(buffer[: part.readinto(buffer)]), b""))
        assert found == CONTENT[MIB : 3 * MIB]
        assert stored.passes == 2


def test_the_size_is_known_at_the_end() -> None:
    with closing(forward(Taken(STORED))) as reader:
        assert reader.size_bytes is None
        assert reader.read_range(len(CONTENT) - 5, 10) == CONTENT[-5:]
        assert reader.size_bytes == len(CONTENT)


def test_a_broken_read_starts_again() -> None:
    stored = Taken(STORED, breaks_after=MIB)
    with closing(forward(stored)) as reader:
        with pytest.raises(TransientError, match="broke off"):
            reader.read_range(0, len(CONTENT))
        assert reader.read_range(0, len(CONTENT)) == CONTENT
    assert stored.passes == 2


def test_a_truncated_object_is_an_error_where_it_ends() -> None:
    stored = Taken(STORED[: len(STORED) // 2])
    with closing(forward(stored)) as reader:
        assert reader.read_range(0, MIB) == CONTENT[:MIB]
        with pytest.raises(InvalidArchiveError, match="gzip data is truncated"):
            reader.read_range(MIB, len(CONTENT))
