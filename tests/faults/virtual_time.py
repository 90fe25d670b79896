"""Virtual time that advances with the bytes that a copy reads, at any speed of the machine."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from tests.faults.lambda_context import FUNCTION_ARN, LambdaContext
from tests.waiting import MAX_WAIT_SECONDS

from ecr_image_replicator.aws.invocation import invoke_later
from ecr_image_replicator.copy.ports import BlobOutcome
from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.model.manifests import Descriptor
from ecr_image_replicator.registry.client import RegistryClient

#: The timeout of a function, and that timeout less 20 s reserved for the response.
TIMEOUT_SECONDS, SPAN_SECONDS = 900, 880
#: Length of a step of time. No request starts with less than 80 s left, so that the
#: real timeouts of connections, which the remaining time limits, are long.
STEP_SECONDS = 100
_REAL_BUDGET_SECONDS = 300.0


class VirtualTime:
    """The clock and the timers of a function.

    The time stops when a timer has fired, until the next invocation.

    Parameters
    ----------
    step_bytes
        The bytes that a copy reads in one step of time, over all streams.

    Attributes
    ----------
    parallel_blobs
        Number of blobs that are read in turns. With one, time advances for a blob when the
        previous one is finished.
    """

    def __init__(self, step_bytes: int) -> None:
        self._step_bytes = step_bytes
        self._lock = threading.Condition()
        self._now = 1_000_000.0
        self._bytes = 0
        self._timers: list[_VirtualTimer] = []
        self._is_stopped = False
        self._counts: dict[Descriptor, int] = {}
        self._opening_uploads = 0
        self.parallel_blobs = 1

    def __call__(self) -> float:
        return self._now

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Use this clock and its timers for invocations of custom resources."""
        deadline = functools.partial(Deadline, clock=self)
        progress = functools.partial(_TimedProgress, self)
        clocks = SimpleNamespace(time=self, monotonic=self)
        patch.setattr("custom_resource.invocation.Deadline", deadline)
        patch.setattr("custom_resource.invocation.LoggedProgress", progress)
        patch.setattr("custom_resource.resource.LoggedProgress", progress)
        patch.setattr("custom_resource.invocation.time", clocks)
        self.install_timers(patch)
        request = RegistryClient.request

        def request_without_timers(
            client: RegistryClient, method: str, *more: Any, **named: Any
        ) -> Any:
            with self._opening() if method == "POST" else nullcontext():
                return request(client, method, *more, **named)

        patch.setattr(RegistryClient, "request", request_without_timers)

    def install_timers(self, patch: pytest.MonkeyPatch) -> None:
        """Run the timers of deadlines on this time."""
        patch.setattr(threading, "Timer", functools.partial(_VirtualTimer, self))

    def advance_to_first_timer(self) -> None:
        """Advance to the time of the first timer and fire it."""
        with self._lock:
            self._pass(math.inf)

    def new_context(self, *, arn: str = FUNCTION_ARN) -> LambdaContext:
        """Return the context of an invocation that starts now."""
        with self._lock:
            self._is_stopped = False
            self._counts.clear()
            self._bytes = 0
        return LambdaContext(TIMEOUT_SECONDS, invoked_function_arn=arn, clock=self)

    def read(self, blob: Descriptor, count_bytes: int) -> None:
        """Advance the time by these bytes of a blob."""
        with self._lock:
            self._counts.setdefault(blob, 0)
            assert self._lock.wait_for(lambda: self._is_in_turn(blob), MAX_WAIT_SECONDS)
            self._counts[blob] += count_bytes
            self._bytes += count_bytes
            while self._bytes >= self._step_bytes:
                self._bytes -= self._step_bytes
                self._pass(STEP_SECONDS)
            self._lock.notify_all()

    def finish(self, blob: Descriptor) -> None:
        """Remove a finished blob from the turns."""
        with self._lock:
            self._counts.pop(blob, None)
            self._lock.notify_all()

    def start(self, timer: _VirtualTimer) -> None:
        with self._lock:
            timer.due = self._now + timer.seconds
            self._timers.append(timer)

    def cancel(self, timer: _VirtualTimer) -> None:
        with self._lock:
            if timer in self._timers:
                self._timers.remove(timer)

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """Delay timers while an upload is opened, which could leave its session open."""
        with self._lock:
            self._opening_uploads += 1
        try:
            yield
        finally:
            with self._lock:
                self._opening_uploads -= 1
                self._lock.notify_all()

    def _is_in_turn(self, blob: Descriptor) -> bool:
        if self._is_stopped:
            return True
        if self.parallel_blobs == 1:
            return next(iter(self._counts)) == blob
        return len(self._counts) >= self.parallel_blobs and self._counts[blob] <= min(
            self._counts.values()
        )

    def _pass(self, seconds: float) -> None:
        if self._is_stopped:
            return
        end = self._now + seconds
        first = min(self._timers, key=lambda timer: timer.due, default=None)
        if first is None or first.due > end:
            self._now = end
            return
        assert self._lock.wait_for(lambda: not self._opening_uploads, MAX_WAIT_SECONDS)
        self._now, self._is_stopped = first.due, True
        self._timers.remove(first)
        first.function()


def invoke_with_real_budget(
    function_arn: str, event: Mapping[str, Any], budget_seconds: float
) -> None:
    """Invoke a function with a large budget of real time."""
    assert budget_seconds > 0
    invoke_later(function_arn, event, _REAL_BUDGET_SECONDS)


class _VirtualTimer:
    """`threading.Timer` on virtual time. Its function runs in the reading thread."""

    def __init__(self, time: VirtualTime, seconds: float, function: Callable[[], None]) -> None:
        self.seconds = seconds
        self.function = function
        self.due = 0.0
        self.name = ""
        self.daemon = True
        self._time = time

    def start(self) -> None:
        self._time.start(self)

    def cancel(self) -> None:
        self._time.cancel(self)

    def join(self) -> None:
        """Return immediately: the function runs only while a blob is read."""


class _TimedProgress(LoggedProgress):
    """A progress that advances the virtual time."""

    def __init__(self, time: VirtualTime, *interval_seconds: float) -> None:
        super().__init__(*interval_seconds, clock=time)
        self._time = time

    def advance(self, blob: Descriptor, count_bytes: int) -> None:
        super().advance(blob, count_bytes)
        self._time.read(blob, count_bytes)

    def finish(self, blob: Descriptor, outcome: BlobOutcome) -> None:
        super().finish(blob, outcome)
        self._time.finish(blob)
