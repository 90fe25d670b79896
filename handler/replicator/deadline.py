"""How much time is left, refusing to start what does not fit, and stopping what goes on."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from replicator.errors import OutOfTimeError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable


class Deadline:
    """A moment on a monotonic clock, which all threads of an invocation look at.

    Parameters
    ----------
    seconds
        From now until the moment.
    clock
        Monotonic seconds.
    wait
        Waits so many seconds, or until stopped, and tells whether it was stopped; the default
        waits in real time.
    """

    def __init__(
        self,
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._clock = clock
        self._at = clock() + seconds
        self._stopped = threading.Event()
        self._wait = wait or self._stopped.wait
        self._branches: list[Deadline] = []

    @property
    def remaining_seconds(self) -> float:
        """Seconds left, 0 when it has passed."""
        return max(0.0, self._at - self._clock())

    def check(self, step: str) -> None:
        """Go on only if there is time and nothing has failed.

        Raises
        ------
        OutOfTimeError
            The moment has passed.
        StoppedError
            `stop` was called.
        """
        if self._stopped.is_set():
            raise StoppedError(f"stopped before it could {step}")
        if self.remaining_seconds <= 0:
            raise OutOfTimeError(
                f"there was no time left to {step}; give the function a longer timeout or more "
                "memory, or deploy again: what has been copied is not copied twice"
            )

    def wait(self, seconds: float) -> bool:
        """Wait, unless that would pass the moment: then return False at once.

        Raises
        ------
        StoppedError
            `stop` was called before or while waiting.
        """
        if seconds >= self.remaining_seconds:
            return False
        if self._stopped.is_set() or self._wait(seconds):
            raise StoppedError("stopped while waiting")
        return True

    def stop(self) -> None:
        """End every wait and let every further check raise: something has failed."""
        self._stopped.set()
        for branch in tuple(self._branches):
            branch.stop()

    def branch(self) -> Deadline:
        """Give a deadline of the same moment that ends with this one and can be stopped alone.

        For work whose failure is not the failure of everything.
        """
        branch = Deadline(self.remaining_seconds, clock=self._clock)
        self._branches.append(branch)
        if self._stopped.is_set():
            branch.stop()
        return branch
