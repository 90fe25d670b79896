"""An archive that is compressed as a whole, read forward.

A thread decompresses a few buffers ahead of the reader. Reading bytes before the current position
starts again from the beginning.
"""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.archive.compression import decompressed
from ecr_image_replicator.errors import StoppedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecr_image_replicator.archive.compression import Compression
    from ecr_image_replicator.copy.ports import RangedReader
    from ecr_image_replicator.model.digests import ByteReader

_BUFFER_BYTES: Final = 256 * 1024
_BUFFERS: Final = 4
_JOIN_SECONDS: Final = 5.0


class ForwardReader:
    """The decompressed content of an object.

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
        self._pump: _Pump | None = None
        self._offset = 0
        self._block = memoryview(b"")
        self.size_bytes: int | None = None

    def read_range(self, offset: int, length: int) -> bytes:
        """Read on to an offset, and return bytes from there."""
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
            if self._pump is None or offset < self._offset:
                self._restart()
            try:
                return self._read_at(offset, buffer)
            except BaseException:
                self._stop()  # the next attempt starts again
                raise

    def close(self) -> None:
        """Stop reading."""
        with self._lock:
            self._stop()

    def _read_at(self, offset: int, buffer: memoryview) -> int:
        while offset > self._offset and self._has_block():
            self._take(offset - self._offset)
        if not self._has_block():
            return 0
        block = self._block[: len(buffer)]
        buffer[: len(block)] = block
        self._take(len(block))
        return len(block)

    def _restart(self) -> None:
        self._stop()
        self._offset = 0
        self._block = memoryview(b"")
        self._pump = _Pump(self._compressed, self._compression, self._location)

    def _stop(self) -> None:
        if self._pump is not None:
            self._pump.stop()
            self._pump = None

    def _take(self, count: int) -> None:
        count = min(count, len(self._block))
        self._block = self._block[count:]
        self._offset += count

    def _has_block(self) -> bool:
        """Fetch the next bytes if none are left; return False at the end."""
        assert self._pump is not None  # noqa: S101 - for mypy: set before the first byte
        if not self._block:
            self._block = self._pump.next_block()
            if not self._block:
                self.size_bytes = self._offset
        return bool(self._block)


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


class _Pump:
    """A thread that decompresses into a ring of buffers."""

    def __init__(self, compressed: RangedReader, compression: Compression, location: str) -> None:
        self._compressed = compressed
        self._compression = compression
        self._location = location
        self._is_stopped = False
        self._free: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[tuple[memoryview, int] | BaseException] = queue.SimpleQueue()
        for _ in range(_BUFFERS):
            self._free.put(memoryview(bytearray(_BUFFER_BYTES)))
        self._in_use: memoryview | None = None
        self._thread = threading.Thread(target=self._run, name="decompression", daemon=True)
        self._thread.start()

    def next_block(self) -> memoryview:
        """Return the next bytes, valid until the next call; none at the end."""
        if self._in_use is not None:
            self._free.put(self._in_use)
            self._in_use = None
        item = self._full.get()
        if isinstance(item, BaseException):
            self._full.put(item)  # later calls fail too
            raise item
        buffer, count = item
        if not count:
            self._full.put(item)
            return buffer[:0]
        self._in_use = buffer
        return buffer[:count]

    def stop(self) -> None:
        """End the thread."""
        self._is_stopped = True
        self._free.put(None)
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            size_bytes = self._compressed.size_bytes
            with self._compressed.open_range(0, size_bytes or 0) as stream:
                reader = decompressed(
                    stream,
                    self._compression,
                    size_bytes=size_bytes,
                    what=f"invalid archive {self._location}",
                )
                while self._fill(reader):
                    pass
        except BaseException as error:  # noqa: BLE001 - raised again by next_block
            self._full.put(error)

    def _fill(self, reader: ByteReader) -> bool:
        buffer = self._free.get()
        if self._is_stopped or buffer is None:
            raise StoppedError(f"stopped reading {self._location}")
        count = 0
        while count < len(buffer) and not self._is_stopped:
            more = reader.readinto(buffer[count:])
            if not more:
                self._full.put((buffer, count))
                if count:
                    self._full.put((buffer, 0))
                return False
            count += more
        self._full.put((buffer, count))
        return True
