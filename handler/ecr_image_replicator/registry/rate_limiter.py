"""A rate limiter that stays below a registry's request quota."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecr_image_replicator.deadline import Deadline

_WINDOW_SECONDS: Final = 1.0
_MIN_RATE: Final = 1.0
_SLOWER: Final = 0.5
_FASTER: Final = 0.25


class RateLimiter:
    """A limit of requests in any one second for all streams together, lower after a throttle.

    A throttle halves the rate, at most once a second, since several streams receive the same one.
    Each successful request raises the rate by a quarter of a request per second.

    Parameters
    ----------
    per_second
        Requests, at most.
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

    def wait(self, deadline: Deadline) -> None:
        """Wait until a request may be sent.

        Raises
        ------
        OutOfTimeError
            The deadline is earlier.
        StoppedError
            Something else failed.
        """
        seconds = self._reserve()
        if seconds > 0 and not deadline.wait(seconds):
            raise deadline.out_of_time(
                f"the rate limit of the registry requires a wait of {seconds:.1f} s"
            )

    def decrease(self) -> None:
        """Lower the rate after a throttled request."""
        with self._lock:
            now = self._clock()
            if now - self._slowed_at >= _WINDOW_SECONDS:
                self._slowed_at = now
                self._rate = max(_MIN_RATE, self._rate * _SLOWER)

    def increase(self) -> None:
        """Raise the rate after a successful request."""
        with self._lock:
            self._rate = min(self._most, self._rate + _FASTER)

    def _reserve(self) -> float:
        """Reserve the next free slot, and return the seconds until then."""
        with self._lock:
            now = self._clock()
            allowed = max(1, int(self._rate))
            start = now
            if len(self._starts) >= allowed:
                start = max(now, self._starts[-allowed] + _WINDOW_SECONDS)
            self._starts.append(start)
            return start - now
