"""Rate limits."""

from __future__ import annotations

import threading
from collections.abc import Callable


class TokenBucket:
    """A token bucket that allows `rate_per_second` requests on average and in a burst.

    `clock` returns seconds. Thread-safe.
    """

    def __init__(self, rate_per_second: float, clock: Callable[[], float]) -> None:
        self._rate_per_second = rate_per_second
        self._capacity = max(1.0, rate_per_second)
        self._clock = clock
        self._tokens = self._capacity
        self._filled_at = clock()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Return whether one more request is allowed now."""
        with self._lock:
            now = self._clock()
            gained = max(0.0, now - self._filled_at) * self._rate_per_second
            self._tokens = min(self._capacity, self._tokens + gained)
            self._filled_at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
