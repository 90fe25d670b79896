"""How many bodies are in flight at once: few at first, more while that makes the whole faster."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ecr_image_replicator.deadline import Deadline

#: Enough to keep two processors busy with registries some 20 ms away.
_FIRST_LANES: Final = 8
#: Long enough for a rate to say something.
_WINDOW_SECONDS: Final = 0.25
#: By so much the whole has to become faster for another lane to be worth its connections.
_WORTH: Final = 1.05
#: Windows after which it is tried again, as networks change.
_RESTING_WINDOWS: Final = 20


class ConcurrencyLimiter:
    """Buffers that bodies pass through, one a body; memory is `most` times `buffer_bytes`.

    Another lane is opened as long as all are taken and the last one made the total rate grow; one
    that did not is closed again. A throttle closes half of them.

    Parameters
    ----------
    most
        Lanes, at least one.
    buffer_bytes
        Of each.
    throttles
        Tells how many answers so far wanted fewer requests.
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
        # to be taken twice: of a stop that came before, a wait hears while it holds this
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._open = min(_FIRST_LANES, most)
        self._taken = 0
        self._waiting = 0
        self._free: list[memoryview] = []
        self._heeded = throttles()
        self._window_at = clock()
        self._window_bytes = 0
        #: The rate before the newest lane was opened; None when none is on trial.
        self._before: float | None = None
        self._resting_windows = 0

    @property
    def limit(self) -> int:
        """How many bodies may be in flight at present."""
        return self._open

    @property
    def waiting(self) -> int:
        """How many bodies wait for a lane."""
        return self._waiting

    @contextmanager
    def enter(self, deadline: Deadline, step: str) -> Iterator[memoryview]:
        """Wait for a lane and hold it; gives its buffer.

        Raises
        ------
        OutOfTimeError
            None is free before the deadline.
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
        """Count bytes that passed, and open or close a lane when that is due."""
        with self._lock:  # once a buffer: the condition's own entry costs more
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
            while self._taken >= self._open:
                deadline.check(step)
                self._changed.wait(deadline.remaining_seconds)
        finally:
            self._waiting -= 1
            forget()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _adapt(self, rate: float) -> None:
        """Open or close lanes by what the last window brought."""
        throttles = self._throttles()
        if throttles != self._heeded:
            self._heeded = throttles
            self._close(self._open // 2)
        elif self._resting_windows:
            self._resting_windows -= 1
        elif not self._waiting or self._open == self._most:
            self._before = None  # nothing to be tried
        elif self._before is None or rate > self._before * _WORTH:
            self._before = rate
            self._open += 1
        else:
            self._close(self._open - 1)

    def _close(self, lanes: int) -> None:
        """Leave so many open for a while."""
        self._open = max(1, lanes)
        self._before = None
        self._resting_windows = _RESTING_WINDOWS
