"""Reading one long blob by several ranges at once, where one connection is slower than the way.

Object stores give a connection so many bytes a second, however much the network could take. A
blob that is read alone, with most of the time spent in waiting for bytes, is read by ranges from
then on, if a trial of them is faster.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from ecr_image_replicator.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from ecr_image_replicator.model.digests import ByteReader

_MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReadAheadLimits:
    """When to read ahead, and how far.

    Attributes
    ----------
    look_bytes
        After so many the rate is looked at.
    least_left_bytes
        A shorter rest is not worth it.
    fast_bytes_per_second
        A connection that gives so much is not what is waited for.
    waiting
        The part of the time that must have been spent in waiting for bytes.
    segment_bytes, segments
        Of each range, and how many there are at once; memory is their product.
    gain
        By so much the trial must be faster.
    """

    look_bytes: int = 32 * _MEBIBYTE
    least_left_bytes: int = 64 * _MEBIBYTE
    fast_bytes_per_second: float = 120 * _MEBIBYTE
    waiting: float = 0.6
    segment_bytes: int = 4 * _MEBIBYTE
    segments: int = 4
    gain: float = 1.2


#: Of a function, whatever its size: 16 MiB, for one blob at a time.
READ_AHEAD: Final = ReadAheadLimits()


class WatchedReader:
    """Bytes of one connection, and how long they were waited for.

    Parameters
    ----------
    reader
        Gives the bytes.
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
        """Fill the buffer as far as bytes come."""
        asked_at = self._clock()
        count = self._reader.readinto(buffer)
        self._waited_seconds += self._clock() - asked_at
        self.count_bytes += count
        return count

    @property
    def bytes_per_second(self) -> float:
        """From the start until now."""
        return self.count_bytes / max(self._clock() - self._began_at, 1e-6)

    def is_slow(self, limits: ReadAheadLimits) -> bool:
        """Tell whether it is the connection that is waited for."""
        seconds = max(self._clock() - self._began_at, 1e-6)
        return (
            self._waited_seconds >= limits.waiting * seconds
            and self.bytes_per_second < limits.fast_bytes_per_second
        )


class ReadAhead:
    """The bytes from `start` to `end`, read by several ranges and given in their order.

    It ends early when a trial shows that it gains nothing: the rest is to be read otherwise, from
    `offset` on.

    Parameters
    ----------
    open_range
        Opens the bytes from an offset to another, which is not included.
    rate_before
        Bytes a second that one connection gave.
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
        self._ask()

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer from the next bytes; 0 when no more come this way.

        Raises
        ------
        ReplicationError
            A range could not be read.
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
            self._ask()
        return count

    def close(self) -> None:
        """Stop reading."""
        self._is_closed = True
        self._pool.shutdown(cancel_futures=True)

    def _verify_one(self) -> None:
        """End the trial when every segment was used twice."""
        tried_bytes = self.offset - self._start
        if self._on_trial and tried_bytes >= 2 * self._limits.segments * self._limits.segment_bytes:
            self._on_trial = False
            seconds = max(self._clock() - self._began_at, 1e-6)
            self._pays = tried_bytes / seconds >= self._wanted_rate

    def _ask(self) -> None:
        """Ask for as many ranges as there are free segments."""
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
                    raise TransientError("nobody wants a range any more")
                count = reader.readinto(view[filled:])
                if not count:
                    raise TransientError(f"a range ended {len(view) - filled} bytes early")
                filled += count
        return view
