"""The concurrency limit: it grows while more parallel bodies increase the total rate."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ecr_image_replicator.deadline import Deadline

#: Enough to keep two processors busy with a round trip of 20 ms.
_FIRST_LIMIT: Final = 8
#: Long enough to measure a rate.
_WINDOW_SECONDS: Final = 0.25
#: The growth of the total rate that justifies one more connection.
_MIN_GAIN: Final = 1.05
#: Windows before the next trial, as networks change.
_RESTING_WINDOWS: Final = 20


class ConcurrencyLimiter:
    """A limit for parallel bodies, with a buffer for each; memory is `most` times `buffer_bytes`.

    The limit is increased while all slots are in use and the last increase made the total rate
    grow; otherwise the increase is undone. A throttled response halves the limit.

    Parameters
    ----------
    most
        The largest limit, at least 1.
    buffer_bytes
        The size of each buffer.
    throttles
        Returns the number of throttled responses so far.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        most: int,
        buffer_bytes: int,
        *,
        throttles: Callable[[], int] = int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._buffer_bytes = buffer_bytes
        self._throttles = throttles
        self._clock = clock
        # RLock: when_cut may call _wake while _wait holds the lock
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._limit = min(_FIRST_LIMIT, most)
        self._taken = 0
        self._waiting = 0
        self._free: list[memoryview] = []
        self._seen_throttles = throttles()
        self._window_at = clock()
        self._window_bytes = 0
        #: The rate before the last increase; None when no increase is on trial.
        self._rate_before: float | None = None
        self._resting_windows = 0

    @property
    def limit(self) -> int:
        """The current limit of parallel bodies."""
        return self._limit

    @property
    def waiting(self) -> int:
        """The number of bodies that wait for a slot."""
        return self._waiting

    @contextmanager
    def enter(self, deadline: Deadline, step: str) -> Iterator[memoryview]:
        """Wait for a slot, and return its buffer while it is held.

        Raises
        ------
        OutOfTimeError
            No slot is free before the deadline.
        StoppedError
            Something else failed meanwhile.
        """
        with self._changed:
            self._wait(deadline, step)
            self._taken += 1
            buffer = self._free.pop() if self._free else memoryview(bytearray(self._buffer_bytes))
        try:
            yield buffer
        finally:
            with self._changed:
                self._taken -= 1
                self._free.append(buffer)
                self._changed.notify()

    def advance(self, count_bytes: int) -> None:
        """Count bytes, and adapt the limit when a window ends."""
        with self._lock:  # called for each buffer: cheaper than entering the condition
            self._window_bytes += count_bytes
            now = self._clock()
            seconds = now - self._window_at
            if seconds < _WINDOW_SECONDS:
                return
            rate = self._window_bytes / seconds
            self._window_at, self._window_bytes = now, 0
            self._adapt(rate)
            self._changed.notify_all()

    def _wait(self, deadline: Deadline, step: str) -> None:
        forget = deadline.when_cut(self._wake)
        self._waiting += 1
        try:
            while self._taken >= self._limit:
                deadline.check(step)
                self._changed.wait(deadline.remaining_seconds)
        finally:
            self._waiting -= 1
            forget()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _adapt(self, rate: float) -> None:
        """Adapt the limit to the rate of the last window."""
        throttles = self._throttles()
        if throttles != self._seen_throttles:
            self._seen_throttles = throttles
            self._decrease(self._limit // 2)
        elif self._resting_windows:
            self._resting_windows -= 1
        elif not self._waiting or self._limit == self._most:
            self._rate_before = None  # no increase is needed or possible
        elif self._rate_before is None or rate > self._rate_before * _MIN_GAIN:
            self._rate_before = rate
            self._limit += 1
        else:
            self._decrease(self._limit - 1)

    def _decrease(self, limit: int) -> None:
        """Decrease the limit, and keep it for a while."""
        self._limit = max(1, limit)
        self._rate_before = None
        self._resting_windows = _RESTING_WINDOWS
