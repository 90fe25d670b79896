"""An archive that is compressed as a whole, read forward.

Reading bytes before the current position starts again from the beginning.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.archive.compression import decompressed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecr_image_replicator.archive.compression import Compression
    from ecr_image_replicator.copy.ports import RangedReader
    from ecr_image_replicator.model.digests import ByteReader

_SKIP_BYTES: Final = 256 * 1024


class ForwardReader:
    """The decompressed content of an object; safe for several threads.

    Parameters
    ----------
    compressed
        The object.
    compression
        How it is compressed.
    location
        Names the object in errors.
    """

    is_sequential: Final = True

    def __init__(self, compressed: RangedReader, compression: Compression, location: str) -> None:
        self._compressed = compressed
        self._compression = compression
        self._location = location
        self._lock = threading.Lock()
        self._opened = ExitStack()
        self._stream: ByteReader | None = None
        self._offset = 0
        self._skipped: memoryview | None = None
        self.size_bytes: int | None = None

    def read_range(self, offset: int, length: int) -> bytes:
        """Read on to an offset, and return bytes from there, fewer at the end."""
        content = memoryview(bytearray(length))
        count = 0
        while count < length and (more := self.read_at(offset + count, content[count:])):
            count += more
        return bytes(content[:count])

    @contextmanager
    def open_range(self, offset: int, length: int) -> Iterator[ByteReader]:
        """Start reading at an offset, as the caller takes the bytes."""
        yield _ForwardRange(self, offset, length)

    def read_at(self, offset: int, buffer: memoryview) -> int:
        """Fill a buffer from an offset on, as far as bytes are ready; return 0 at the end.

        Raises
        ------
        InvalidArchiveError
            The object cannot be decompressed, or is a decompression bomb.
        """
        with self._lock:
            try:
                stream = self._open(offset)
                while self._offset < offset and self._skip(stream, offset - self._offset):
                    pass
                return self._read(stream, buffer) if self._offset == offset else 0
            except BaseException:
                self._close()  # the next attempt starts again
                raise

    def close(self) -> None:
        """Stop reading."""
        with self._lock:
            self._close()

    def _open(self, offset: int) -> ByteReader:
        """Return the stream at a position that is not behind the offset."""
        if self._stream is not None and self._offset <= offset:
            return self._stream
        self._close()
        size_bytes = self._compressed.size_bytes
        self._stream = decompressed(
            self._opened.enter_context(self._compressed.open_range(0, size_bytes or 0)),
            self._compression,
            size_bytes=size_bytes,
            what=f"invalid archive {self._location}",
        )
        return self._stream

    def _skip(self, stream: ByteReader, count: int) -> int:
        if self._skipped is None:
            self._skipped = memoryview(bytearray(_SKIP_BYTES))
        return self._read(stream, self._skipped[:count])

    def _read(self, stream: ByteReader, buffer: memoryview) -> int:
        count = stream.readinto(buffer)
        self._offset += count
        if not count and len(buffer):
            self.size_bytes = self._offset
        return count

    def _close(self) -> None:
        self._stream, self._offset = None, 0
        self._opened.close()


class _ForwardRange:
    """A range of a forward reader."""

    def __init__(self, reader: ForwardReader, offset: int, length: int) -> None:
        self._reader = reader
        self._offset = offset
        self._end = offset + length

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._reader.read_at(self._offset, buffer[: self._end - self._offset])
        self._offset += count
        return count
