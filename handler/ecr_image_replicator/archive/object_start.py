"""The first bytes of an object, read once to recognise its format and kept for later reads."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ecr_image_replicator.model.digests import BytesReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecr_image_replicator.copy.ports import RangedReader
    from ecr_image_replicator.model.digests import ByteReader


class StartedObject:
    """An object whose first bytes are in memory.

    Parameters
    ----------
    reader
        The object.
    head
        Its first bytes.
    """

    def __init__(self, reader: RangedReader, head: bytes) -> None:
        self._reader = reader
        self._head = head

    @property
    def size_bytes(self) -> int | None:
        """The object's length."""
        return self._reader.size_bytes

    @property
    def is_sequential(self) -> bool:
        """Whether the object can be read only forward."""
        return self._reader.is_sequential

    def read_range(self, offset: int, length: int) -> bytes:
        """Read a range; its part in memory is not read again."""
        held = self._head[offset : offset + length]
        if len(held) == length or len(self._head) == self.size_bytes:
            return held
        at = offset + len(held)
        return held + self._reader.read_range(at, length - len(held))

    @contextmanager
    def open_range(self, offset: int, length: int) -> Iterator[ByteReader]:
        """Start reading a range; its part in memory is not read again."""
        held = self._head[offset : offset + length]
        if len(held) == length:
            yield BytesReader(held)
            return
        with self._reader.open_range(offset + len(held), length - len(held)) as rest:
            yield _Joined(held, rest)


class _Joined:
    """Bytes in memory, then the rest from a reader."""

    def __init__(self, head: bytes, rest: ByteReader) -> None:
        self._head: ByteReader = BytesReader(head)
        self._rest = rest

    def readinto(self, buffer: memoryview, /) -> int:
        return self._head.readinto(buffer) or self._rest.readinto(buffer)
