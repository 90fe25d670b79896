"""Keeping under a registry's rate of requests instead of running into it."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import OutOfTimeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecr_image_replicator.deadline import Deadline

_WINDOW_SECONDS: Final = 1.0
_MIN_RATE: Final = 1.0
_SLOWER: Final = 0.5
_FASTER: Final = 0.25


class RateLimiter:
    """So many starts in any one second, for all streams together; fewer after a throttle.

    A throttle halves the rate, at most once a second, as several streams meet the same one; each
    start that goes well gives a quarter of a start a second back.

    Parameters
    ----------
    per_second
        Starts, at most.
    clock
        Monotonic seconds.
    """

    def __init__(self, per_second: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = float(per_second)
        self._rate = float(per_second)
        self._clock = clock
        self._lock = threading.Lock()
        self._starts: deque[float] = deque(maxlen=per_second)
        self._slowed_at = float("-inf")

    @property
    def per_second(self) -> float:
        """Starts a second at present."""
        return self._rate

    def wait(self, deadline: Deadline) -> None:
        """Wait for a start, and take it.

        Raises
        ------
        OutOfTimeError
            The deadline comes first.
        StoppedError
            Something else failed meanwhile.
        """
        seconds = self._reserve()
        if seconds > 0 and not deadline.wait(seconds):
            raise OutOfTimeError(
                f"there was no time left for the {seconds:.1f} seconds that the registry's rate "
                "of requests asks to wait"
            )

    def decrease(self) -> None:
        """Take a throttle to heart."""
        with self._lock:
            now = self._clock()
            if now - self._slowed_at >= _WINDOW_SECONDS:
                self._slowed_at = now
                self._rate = max(_MIN_RATE, self._rate * _SLOWER)

    def increase(self) -> None:
        """Learn that a start went well."""
        with self._lock:
            self._rate = min(self._most, self._rate + _FASTER)

    def _reserve(self) -> float:
        """Take the next start that is free, and give the seconds until then."""
        with self._lock:
            now = self._clock()
            allowed = max(1, int(self._rate))
            start = now
            if len(self._starts) >= allowed:
                start = max(now, self._starts[-allowed] + _WINDOW_SECONDS)
            self._starts.append(start)
            return start - now
