"""A deadline for an invocation: it ends waits, cuts connections and stops threads."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ecr_image_replicator.errors import OutOfTimeError, StoppedError, Term

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ecr_image_replicator.errors import Part


class Deadline:
    """A point in time that all threads of an invocation check.

    Parameters
    ----------
    seconds
        From now until the deadline.
    clock
        Monotonic seconds.
    wait
        Waits so many seconds, or until `stop`, and returns whether it was stopped. The default
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
        self._began_at = clock()
        self._at = self._began_at + seconds
        self._stopped = threading.Event()
        self._given_wait = wait
        self._wait = wait or self._stopped.wait
        self._lock = threading.Lock()
        #: By whether they ignore `stop`.
        self._cuts: dict[bool, dict[object, Callable[[], None]]] = {False: {}, True: {}}
        self._is_cut = {False: False, True: False}
        self._branches: list[Deadline] = []

    @property
    def remaining_seconds(self) -> float:
        """Seconds until the deadline, 0 after it."""
        return max(0.0, self._at - self._clock())

    def out_of_time(self, *reason: Part) -> OutOfTimeError:
        """Return the error for work that does not fit: ``timed out after 870 s: reason``."""
        elapsed_seconds = self._clock() - self._began_at
        return OutOfTimeError(
            f"timed out after {elapsed_seconds:.0f} s",
            ": ",
            *reason,
            hint=("Increase MemorySize or ", Term.RETRY, ": copied blobs are reused."),
        )

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def check(self, step: str) -> None:
        """Raise if the deadline has passed or the work was stopped.

        Parameters
        ----------
        step
            The next step, as an infinitive: ``copy blob sha256:…``.

        Raises
        ------
        OutOfTimeError
            The deadline has passed.
        StoppedError
            `stop` was called.
        """
        if self._stopped.is_set():
            raise StoppedError(f"cancelled before it could {step}")
        if self._clock() >= self._at:
            raise self.out_of_time(f"cannot {step}")

    def wait(self, seconds: float) -> bool:
        """Wait, or return False at once if the wait would exceed the deadline.

        Raises
        ------
        StoppedError
            `stop` was called before or while waiting.
        """
        if self._stopped.is_set():
            raise StoppedError("cancelled while waiting")
        if seconds >= self.remaining_seconds:
            return False
        if self._wait(seconds):
            raise StoppedError("cancelled while waiting")
        return True

    def stop(self) -> None:
        """End all waits, shut down all connections, and make all further checks raise."""
        self._stopped.set()
        self._cut_off(outlasting=False)
        for branch in tuple(self._branches):
            branch.stop()

    def when_cut(
        self, cut: Callable[[], None], *, outlasts_stop: bool = False
    ) -> Callable[[], None]:
        """Register a function that ends a blocking call.

        It is called at `stop` and when an `enforced` deadline passes, or at once after that.

        Parameters
        ----------
        cut
            Ends the blocking call from another thread.
        outlasts_stop
            Whether only the deadline ends the call, because it cleans something up.

        Returns
        -------
        Callable
            Removes the registration; call it after the blocking call.
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
        """End blocking calls when the deadline passes; `check` alone does not wake them."""
        timer = threading.Timer(self.remaining_seconds, self._expire)
        timer.name, timer.daemon = "deadline", True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def branch(self, most_seconds: float = float("inf")) -> Deadline:
        """Return a deadline that is stopped with this one, and can be stopped alone.

        Use it for work whose failure does not end the rest.

        Parameters
        ----------
        most_seconds
            The longest time of the branch.
        """
        seconds = min(self.remaining_seconds, most_seconds)
        branch = Deadline(seconds, clock=self._clock, wait=self._given_wait)
        branch._began_at = self._began_at
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
