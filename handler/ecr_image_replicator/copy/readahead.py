"""Parallel ranged reads of one long blob, where a single connection is slower than the network.

Object stores limit the rate of a connection. A blob that is read alone, and spends most of the time
waiting for bytes, is read by parallel ranges if a trial of them is faster.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from ecr_image_replicator.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from ecr_image_replicator.model.digests import ByteReader

_MEBIBYTE: Final = 1024 * 1024


class ReadAheadLimits(NamedTuple):
    """When to read by ranges, and how far ahead.

    Attributes
    ----------
    look_bytes
        The rate is measured after so many bytes.
    least_left_bytes
        A shorter rest is read by one connection.
    fast_bytes_per_second
        A faster connection is not the bottleneck.
    waiting
        The share of time that must be spent waiting for bytes.
    segment_bytes, segments
        The size of a range, and the number of parallel ranges; memory is their product.
    gain
        The factor by which the trial must be faster.
    """

    look_bytes: int = 32 * _MEBIBYTE
    least_left_bytes: int = 64 * _MEBIBYTE
    fast_bytes_per_second: float = 120 * _MEBIBYTE
    waiting: float = 0.6
    segment_bytes: int = 4 * _MEBIBYTE
    segments: int = 4
    gain: float = 1.2


#: 16 MiB of memory, for one blob at a time.
READ_AHEAD: Final = ReadAheadLimits()


class WatchedReader:
    """A reader that measures the time spent waiting for bytes.

    Parameters
    ----------
    reader
        The reader of one connection.
    clock
        Monotonic seconds.
    """

    def __init__(self, reader: ByteReader, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._clock = clock
        self._began_at = clock()
        self._waited_seconds = 0.0
        self.count_bytes = 0

    def readinto(self, buffer: memoryview, /) -> int:
        """Read into the buffer; return the number of bytes."""
        asked_at = self._clock()
        count = self._reader.readinto(buffer)
        self._waited_seconds += self._clock() - asked_at
        self.count_bytes += count
        return count

    @property
    def bytes_per_second(self) -> float:
        """The rate since the start."""
        return self.count_bytes / max(self._clock() - self._began_at, 1e-6)

    def is_slow(self, limits: ReadAheadLimits) -> bool:
        """Return whether the connection is the bottleneck."""
        seconds = max(self._clock() - self._began_at, 1e-6)
        return (
            self._waited_seconds >= limits.waiting * seconds
            and self.bytes_per_second < limits.fast_bytes_per_second
        )


class ReadAhead:
    """A reader of the bytes from `start` to `end`, by parallel ranges.

    It ends early when the trial is not faster; read the rest in another way, from `offset` on.

    Parameters
    ----------
    open_range
        Opens the bytes from an offset to another, exclusive.
    rate_before
        The rate of one connection, in bytes per second.
    """

    def __init__(
        self,
        open_range: Callable[[int, int], AbstractContextManager[ByteReader]],
        start: int,
        end: int,
        *,
        rate_before: float,
        limits: ReadAheadLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_range = open_range
        self._end = end
        self._limits = limits
        self._clock = clock
        self._began_at = clock()
        self._wanted_rate = rate_before * limits.gain
        self._start = self._asked = self.offset = start
        self._free = [bytearray(limits.segment_bytes) for _ in range(limits.segments)]
        self._pool = ThreadPoolExecutor(limits.segments, thread_name_prefix="ahead")
        self._is_closed = False
        self._on_trial = True
        self._pays = True
        self._coming: deque[Future[memoryview]] = deque()
        self._current = memoryview(b"")
        self._request_ranges()

    def readinto(self, buffer: memoryview, /) -> int:
        """Read the next bytes into the buffer; return 0 at the end.

        Raises
        ------
        ReplicationError
            A range cannot be read.
        """
        if not self._current and self._coming:
            self._current = self._coming.popleft().result()
        count = min(len(buffer), len(self._current))
        buffer[:count] = self._current[:count]
        left = self._current[count:]
        if count and not left:
            self._free.append(cast("bytearray", self._current.obj))
        self._current = left
        self.offset += count
        if not left:
            self._verify_one()
            self._request_ranges()
        return count

    def close(self) -> None:
        """Stop reading."""
        self._is_closed = True
        self._pool.shutdown(cancel_futures=True)

    def _verify_one(self) -> None:
        """End the trial after every segment was used twice."""
        tried_bytes = self.offset - self._start
        if self._on_trial and tried_bytes >= 2 * self._limits.segments * self._limits.segment_bytes:
            self._on_trial = False
            seconds = max(self._clock() - self._began_at, 1e-6)
            self._pays = tried_bytes / seconds >= self._wanted_rate

    def _request_ranges(self) -> None:
        """Request as many ranges as there are free segments."""
        while self._free and self._pays and self._asked < self._end:
            end = min(self._end, self._asked + self._limits.segment_bytes)
            segment = self._free.pop()
            self._coming.append(self._pool.submit(self._read, segment, self._asked, end))
            self._asked = end

    def _read(self, segment: bytearray, start: int, end: int) -> memoryview:
        view = memoryview(segment)[: end - start]
        filled = 0
        with self._open_range(start, end) as reader:
            while filled < len(view):
                if self._is_closed:
                    raise TransientError("the reader of a range was closed")
                count = reader.readinto(view[filled:])
                if not count:
                    raise TransientError(f"a range ended {len(view) - filled} bytes early")
                filled += count
        return view
