"""When to try a request again, as values that answer questions; waiting is the caller's."""

from __future__ import annotations

import email.utils
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import OutOfTimeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.errors import TransientError
    from ecr_image_replicator.propagation import PermissionPropagation

#: Statuses of overload and passing trouble (RFC 9110, section 15; RFC 6585, section 4).
RETRYABLE_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
#: A host that asks for more is asked again by the next who needs it: pauses outlive invocations.
_MAX_SHARED_PAUSE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long: full-jitter exponential backoff.

    Attributes
    ----------
    attempts
        Times that a request is sent at most, at least 1.
    base_delay_seconds, max_delay_seconds
        The backoff before attempt n + 1 is drawn from 0 to ``base * 2**(n - 1)``, at most the
        maximum.
    """

    attempts: int = 5
    base_delay_seconds: float = 1.0
    max_delay_seconds: float = 30.0

    def delay_seconds(
        self,
        attempt: int,
        *,
        retry_after_seconds: float | None,
        draw: Callable[[], float],
    ) -> float | None:
        """Give the seconds to wait after the attempt (the first is 1), None to give up.

        `draw` gives a random number from 0 to 1.

        A server's Retry-After is obeyed in full, plus jitter, even past the maximum: asking
        sooner only prolongs a throttle.
        """
        if attempt >= self.attempts:
            return None
        ceiling = min(self.max_delay_seconds, self.base_delay_seconds * 2.0 ** min(attempt - 1, 30))
        if retry_after_seconds is not None:
            return retry_after_seconds + draw() * min(1.0, ceiling)
        return draw() * ceiling


def parse_retry_after(headers: Mapping[str, str], *, now: Callable[[], float]) -> float | None:
    """Read Retry-After as seconds, from either of its forms (RFC 9110, section 10.2.3).

    Parameters
    ----------
    headers
        Of the response, by case-insensitive or lowercase name.
    now
        Seconds since the epoch, to turn a date into a delay.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment_seconds = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment_seconds - now())


class SharedPause:
    """A moment before which nobody speaks to a host, so that one throttle slows every stream."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until = 0.0

    def extend(self, seconds: float) -> None:
        """Keep everybody away for that long, at most a minute; a longer pause that is set stays."""
        with self._lock:
            until = self._clock() + min(seconds, _MAX_SHARED_PAUSE_SECONDS)
            self._until = max(self._until, until)

    @property
    def remaining_seconds(self) -> float:
        """Seconds until anybody may speak again."""
        return max(0.0, self._until - self._clock())


class Backoff:
    """Carries a policy out: waits within the deadline, and makes others wait when throttled.

    Parameters
    ----------
    policy
        How often and how long.
    deadline
        No wait may pass it.
    draw
        Gives a random number from 0 to 1.
    on_retry
        Told of each failure that is to be followed by another attempt.
    propagation
        Retries of denials by AWS; None if a denial is final.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        deadline: Deadline,
        *,
        draw: Callable[[], float] = random.random,
        on_retry: Callable[[TransientError], None] | None = None,
        propagation: PermissionPropagation | None = None,
    ) -> None:
        self.propagation: Final = propagation
        self._policy = policy
        self._deadline = deadline
        self._draw = draw
        self._on_retry = on_retry
        self._lock = threading.Lock()
        self._throttles = 0

    @property
    def throttles(self) -> int:
        """How many answers so far wanted fewer requests."""
        return self._throttles

    def wait_after(
        self, attempt: int, error: TransientError, pause: SharedPause | None = None
    ) -> bool:
        """Wait before the next attempt; False when there have been enough.

        Parameters
        ----------
        attempt
            The one that failed, from 1.
        error
            Why.
        pause
            The host's: a throttle holds back all its streams.

        Raises
        ------
        OutOfTimeError
            The wait does not fit into the time that is left.
        StoppedError
            Something else failed meanwhile.
        """
        if error.is_throttle:
            with self._lock:
                self._throttles += 1
        # what broke when the time was over was cut off: that is the reason to give
        self._deadline.check("try again")
        seconds = self._policy.delay_seconds(
            attempt, retry_after_seconds=error.retry_after_seconds, draw=self._draw
        )
        if seconds is None:
            return False
        if self._on_retry is not None:
            self._on_retry(error)
        if pause is not None and error.retry_after_seconds is not None:
            pause.extend(error.retry_after_seconds)
        if not self._deadline.wait(seconds):
            raise OutOfTimeError(
                f"{error}; the next attempt would be in {seconds:.0f} seconds and there are only "
                f"{self._deadline.remaining_seconds:.0f} left"
            ) from error
        return True

    def wait_for(self, pause: SharedPause, host: str = "the registry") -> None:
        """Wait until a host may be spoken to again.

        Raises
        ------
        OutOfTimeError
            That is past the deadline.
        StoppedError
            Something else failed meanwhile.
        """
        seconds = pause.remaining_seconds
        if seconds > 0 and not self._deadline.wait(seconds + self._draw() * min(1.0, seconds)):
            raise OutOfTimeError(
                f"{host} asked to be left alone for another {seconds:.0f} seconds and there are "
                f"only {self._deadline.remaining_seconds:.0f} left; deploy again later"
            )
