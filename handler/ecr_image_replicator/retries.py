"""Retries: exponential backoff with full jitter, Retry-After, and pauses shared by all streams."""

from __future__ import annotations

import email.utils
import random
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from ecr_image_replicator.errors import (
    LostUploadError,
    Setting,
    Term,
    ThrottledError,
    TransientError,
    UnavailableError,
    UnknownHostError,
    UntrustedHostError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.errors import RegistryError, Side
    from ecr_image_replicator.propagation import PermissionPropagation

#: Statuses of overload and temporary failures (RFC 9110, section 15; RFC 6585, section 4), and of
#: Cloudflare when it cannot reach the server behind it (its "5xx errors": 520 to 524).
RETRYABLE_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504, *range(520, 525)})
_THROTTLES: Final = frozenset({429, 503})
#: Pauses outlive invocations: after a longer Retry-After, the next request asks the host again.
_MAX_SHARED_PAUSE_SECONDS: Final = 60.0


class OverloadedError(TransientError):
    """A response whose status may pass: too many requests, or a server in trouble.

    Parameters
    ----------
    message, retry_after_seconds
        As of `TransientError`.
    status, code
        As of `RegistryError`.
    """

    def __init__(
        self, message: str, *, status: int, code: str, retry_after_seconds: float | None
    ) -> None:
        is_throttle = status in _THROTTLES
        super().__init__(message, retry_after_seconds=retry_after_seconds, is_throttle=is_throttle)
        self.status: Final = status
        self.code: Final = code


def retries_exhausted(
    error: TransientError, side: Side, attempts: int
) -> RegistryError | LostUploadError:
    """Return the error for a transient failure that lasted through all attempts."""
    times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    message = (*error.message, f" after {times}")
    hint = (
        error.hint if any(error.hint) else (Term.RETRY, " later, or raise ", Setting.RETRIES, ".")
    )
    if isinstance(error, OverloadedError):
        if error.status == 429:
            return ThrottledError(
                *message,
                hint=hint,
                side=side,
                status=error.status,
                code=error.code,
                retry_after_seconds=error.retry_after_seconds,
            )
        return UnavailableError(
            *message, hint=hint, side=side, status=error.status, code=error.code
        )
    if isinstance(error, LostUploadError):
        return LostUploadError(*message, hint=hint)
    if isinstance(error, UnknownHostError):
        return UntrustedHostError(*message, hint=hint, side=side)
    return UnavailableError(*message, hint=hint, side=side)


class RetryPolicy(NamedTuple):
    """Full-jitter exponential backoff.

    Attributes
    ----------
    attempts
        The largest number of times that a request is sent, at least 1.
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
        """Return the seconds to wait after an attempt (the first is 1), None to give up.

        `draw` returns a random number from 0 to 1.

        Retry-After is honoured in full, plus jitter, even beyond the maximum: an earlier request
        only prolongs the throttling.
        """
        if attempt >= self.attempts:
            return None
        ceiling = min(self.max_delay_seconds, self.base_delay_seconds * 2.0 ** min(attempt - 1, 30))
        if retry_after_seconds is not None:
            return retry_after_seconds + draw() * min(1.0, ceiling)
        return draw() * ceiling


def parse_retry_after(headers: Mapping[str, str], *, now: Callable[[], float]) -> float | None:
    """Parse Retry-After as seconds, in either of its forms (RFC 9110, section 10.2.3).

    Parameters
    ----------
    headers
        Of the response, by case-insensitive or lowercase name.
    now
        Seconds since the epoch, to convert a date into a delay.
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
    """A pause of all requests to a host, after a response with Retry-After."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until = 0.0

    def extend(self, seconds: float) -> None:
        """Pause for that long, at most a minute; a longer pause is kept."""
        with self._lock:
            until = self._clock() + min(seconds, _MAX_SHARED_PAUSE_SECONDS)
            self._until = max(self._until, until)

    @property
    def remaining_seconds(self) -> float:
        """Seconds until requests may be sent again."""
        return max(0.0, self._until - self._clock())


class Backoff:
    """Waits between attempts, within a deadline.

    Parameters
    ----------
    policy
        The number of attempts and their delays.
    deadline
        No wait exceeds it.
    draw
        Returns a random number from 0 to 1.
    on_retry
        Called with each failure that another attempt follows.
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
        self.policy: Final = policy
        self.propagation: Final = propagation
        self._deadline = deadline
        self._draw = draw
        self._on_retry = on_retry
        self._lock = threading.Lock()
        self._failures = 0

    @property
    def failures(self) -> int:
        """The number of throttled responses and broken connections so far."""
        return self._failures

    def wait_after(
        self, attempt: int, error: TransientError, pause: SharedPause | None = None
    ) -> bool:
        """Wait before the next attempt; return False if there have been enough.

        Parameters
        ----------
        attempt
            The number of the failed attempt, from 1.
        error
            The failure.
        pause
            The pause of the host, which a response with Retry-After extends; None for no shared
            pause.

        Raises
        ------
        OutOfTimeError
            The wait would exceed the deadline.
        StoppedError
            Something else failed meanwhile.
        """
        with self._lock:
            self._failures += 1
        # a connection that broke at the deadline was cut there: report the deadline
        self._deadline.check("retry")
        seconds = self.policy.delay_seconds(
            attempt, retry_after_seconds=error.retry_after_seconds, draw=self._draw
        )
        if seconds is None:
            return False
        if self._on_retry is not None:
            self._on_retry(error)
        if pause is not None and error.retry_after_seconds is not None:
            pause.extend(error.retry_after_seconds)
        if not self._deadline.wait(seconds):
            raise self._deadline.out_of_time(
                *error.message, f"; the next attempt in {seconds:.0f} s exceeds the deadline"
            ) from error
        return True

    def wait_for(self, pause: SharedPause, host: str = "the registry") -> None:
        """Wait until the pause of a host ends.

        Raises
        ------
        OutOfTimeError
            The pause exceeds the deadline.
        StoppedError
            Something else failed meanwhile.
        """
        seconds = pause.remaining_seconds
        if seconds > 0 and not self._deadline.wait(seconds + self._draw() * min(1.0, seconds)):
            reason = f"{host} allows the next request in {seconds:.0f} s (Retry-After)"
            cause = TransientError(reason, retry_after_seconds=seconds, is_throttle=True)
            raise self._deadline.out_of_time(reason) from cause
