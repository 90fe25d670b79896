"""How much time is left, refusing to start what does not fit, and stopping what goes on."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ecr_image_replicator.errors import OutOfTimeError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
        self._lock = threading.Lock()
        #: By whether they outlast `stop`.
        self._cuts: dict[bool, dict[object, Callable[[], None]]] = {False: {}, True: {}}
        self._is_cut = {False: False, True: False}
        self._branches: list[Deadline] = []

    @property
    def remaining_seconds(self) -> float:
        """Seconds left, 0 when it has passed."""
        return max(0.0, self._at - self._clock())

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

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
        if self._clock() >= self._at:
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
        if self._stopped.is_set():
            raise StoppedError("stopped while waiting")
        if seconds >= self.remaining_seconds:
            return False
        if self._wait(seconds):
            raise StoppedError("stopped while waiting")
        return True

    def stop(self) -> None:
        """End every wait, cut every connection, let every further check raise: something failed."""
        self._stopped.set()
        self._cut_off(outlasting=False)
        for branch in tuple(self._branches):
            branch.stop()

    def when_cut(
        self, cut: Callable[[], None], *, outlasts_stop: bool = False
    ) -> Callable[[], None]:
        """Have something that blocks cut off when there is nothing left to wait for.

        That is at `stop` and when an `enforced` moment comes; at once if it was before.

        Parameters
        ----------
        cut
            Ends a wait, from another thread.
        outlasts_stop
            Only the moment ends the wait: half done, it would leave something behind.

        Returns
        -------
        Callable
            Forgets it again; to be called when nothing blocks any more.
        """
        key = object()
        with self._lock:
            if not self._is_cut[outlasts_stop]:
                self._cuts[outlasts_stop][key] = cut
                return lambda: self._forget(key)
        cut()
        return lambda: None

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Cut what still blocks when the moment comes; a check alone wakes nobody."""
        timer = threading.Timer(self.remaining_seconds, self._expire)
        timer.name, timer.daemon = "deadline", True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def branch(self, most_seconds: float = float("inf")) -> Deadline:
        """Give a deadline of the same moment that ends with this one and can be stopped alone.

        For work whose failure is not the failure of everything.

        Parameters
        ----------
        most_seconds
            The branch ends earlier, after so many seconds.
        """
        branch = Deadline(min(self.remaining_seconds, most_seconds), clock=self._clock)
        self._branches.append(branch)
        if self._stopped.is_set():
            branch.stop()
        return branch

    def _expire(self) -> None:
        self._cut_off(outlasting=False)
        self._cut_off(outlasting=True)

    def _cut_off(self, *, outlasting: bool) -> None:
        with self._lock:
            self._is_cut[outlasting] = True
            cuts = list(self._cuts[outlasting].values())
            self._cuts[outlasting].clear()
        for cut in cuts:
            cut()

    def _forget(self, key: object) -> None:
        with self._lock:
            for cuts in self._cuts.values():
                cuts.pop(key, None)
