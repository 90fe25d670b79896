"""The concurrency limit: parallel bodies up to a maximum, fewer after failures."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ecr_image_replicator.deadline import Deadline


class ConcurrencyLimiter:
    """A limit for parallel bodies, with a buffer for each; memory is `most` times `buffer_bytes`.

    A throttled response and a broken connection halve the limit. It rises by one after as many
    bodies as it allows, without another failure.

    Parameters
    ----------
    most
        The largest limit, at least 1; it is the first one, too.
    buffer_bytes
        The size of each buffer.
    failures
        Returns the number of throttled responses and broken connections so far.
    """

    def __init__(self, most: int, buffer_bytes: int, *, failures: Callable[[], int] = int) -> None:
        self._most = most
        self._buffer_bytes = buffer_bytes
        self._failures = failures
        # RLock: when_cut may call _wake while _wait holds the lock
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._limit = most
        self._taken = 0
        self._free: list[memoryview] = []
        self._seen_failures = failures()
        #: Bodies that ended since the limit was changed.
        self._ended = 0

    @property
    def limit(self) -> int:
        """The current limit of parallel bodies."""
        return self._limit

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
                self._adapt()
                self._changed.notify(2)  # the slot, and one more if the limit has risen

    def _wait(self, deadline: Deadline, step: str) -> None:
        forget = deadline.when_cut(self._wake)
        try:
            while self._taken >= self._limit:
                deadline.check(step)
                self._changed.wait(deadline.remaining_seconds)
        finally:
            forget()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _adapt(self) -> None:
        """Adapt the limit when a body ends."""
        failures = self._failures()
        self._ended += 1
        if failures != self._seen_failures:
            self._seen_failures = failures
            self._limit = max(1, self._limit // 2)
            self._ended = 0
        elif self._ended >= self._limit and self._limit < self._most:
            self._limit += 1
            self._ended = 0
