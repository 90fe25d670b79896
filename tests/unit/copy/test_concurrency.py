from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from tests.unit.builders import FakeClock

from ecr_image_replicator.copy.concurrency import ConcurrencyLimiter
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import OutOfTimeError, StoppedError

WINDOW_SECONDS = 0.25


class Throttles:
    """Throttled responses."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        return self.count


class SaturatedLimiter:
    """A limiter whose slots are all in use, with waiting threads."""

    def __init__(self, most: int = 12) -> None:
        self.clock = FakeClock()
        self.throttles = Throttles()
        self.limiter = ConcurrencyLimiter(most, 16, throttles=self.throttles, clock=self.clock)
        self.deadline = Deadline(1000)
        self._threads: list[threading.Thread] = []
        self._done = threading.Event()

    def saturate(self) -> None:
        """Start more threads than the maximum number of slots."""
        started = threading.Semaphore(0)

        def hold_slot() -> None:
            started.release()
            try:
                with self.limiter.enter(self.deadline, "hold_slot"):
                    self._done.wait()
            except StoppedError:
                pass

        self._threads = [threading.Thread(target=hold_slot) for _ in range(20)]
        for thread in self._threads:
            thread.start()
        for _ in self._threads:
            started.acquire()
        while self.limiter.waiting < 20 - self.limiter.limit:
            threading.Event().wait(0.001)

    def advance_window(self, bytes_per_second: float) -> int:
        """Simulate a window at this rate and return the number of slots."""
        self.clock.now += WINDOW_SECONDS
        self.limiter.advance(round(bytes_per_second * WINDOW_SECONDS))
        return self.limiter.limit

    def release(self) -> None:
        """Release all threads."""
        self._done.set()
        self.deadline.stop()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def saturated() -> SaturatedLimiter:
    return SaturatedLimiter()


@pytest.fixture
def crowded(saturated: SaturatedLimiter) -> Iterator[SaturatedLimiter]:
    saturated.saturate()
    yield saturated
    saturated.release()


def test_slots_are_added_while_the_whole_becomes_faster(crowded: SaturatedLimiter) -> None:
    assert crowded.limiter.limit == 8
    assert [crowded.advance_window(rate) for rate in (1000, 1200, 1400, 1600)] == [9, 10, 11, 12]


def test_a_slot_that_gains_nothing_is_closed_again_and_not_tried_for_a_while(
    crowded: SaturatedLimiter,
) -> None:
    assert [crowded.advance_window(1000), crowded.advance_window(1010)] == [9, 8]
    assert {crowded.advance_window(1000) for _ in range(20)} == {8}
    assert crowded.advance_window(1000) == 9


def test_the_number_of_slots_never_exceeds_the_maximum() -> None:
    saturated = SaturatedLimiter(most=9)
    saturated.saturate()
    opened = [saturated.advance_window(rate) for rate in (1000, 2000, 4000, 8000)]
    saturated.release()
    assert opened == [9, 9, 9, 9]


def test_a_throttle_closes_half_of_the_slots(crowded: SaturatedLimiter) -> None:
    crowded.advance_window(1000)
    crowded.throttles.count += 3
    assert crowded.advance_window(9000) == 4
    assert {crowded.advance_window(9000) for _ in range(20)} == {4}
    for left in (2, 1, 1):
        crowded.throttles.count += 1
        assert crowded.advance_window(9000) == left


def test_no_slot_is_added_without_a_waiting_thread(saturated: SaturatedLimiter) -> None:
    with saturated.limiter.enter(saturated.deadline, "hold_slot"):
        assert [saturated.advance_window(rate) for rate in (1000, 2000, 4000)] == [8, 8, 8]


def test_a_rate_is_that_of_a_whole_window(crowded: SaturatedLimiter) -> None:
    crowded.clock.now += WINDOW_SECONDS / 2
    crowded.limiter.advance(1_000_000)
    assert crowded.limiter.limit == 8


def test_a_buffer_is_used_again_and_never_by_two() -> None:
    limiter = ConcurrencyLimiter(2, 16)
    deadline = Deadline(1000)
    with limiter.enter(deadline, "go") as first, limiter.enter(deadline, "go") as second:
        assert first.obj is not second.obj
        assert (len(first), len(second)) == (16, 16)
    with limiter.enter(deadline, "go") as third:
        assert third.obj in (first.obj, second.obj)


def test_waiting_for_a_slot_ends_with_the_deadline() -> None:
    limiter = ConcurrencyLimiter(1, 16)
    with (
        limiter.enter(Deadline(1000), "copy this"),
        pytest.raises(OutOfTimeError, match="cannot copy that"),
        limiter.enter(Deadline(0.01), "copy that"),
    ):
        pass


def test_waiting_for_a_slot_ends_when_something_else_fails() -> None:
    limiter = ConcurrencyLimiter(1, 16)
    deadline = Deadline(1000)
    with limiter.enter(Deadline(1000), "copy this"):
        stopper = threading.Timer(0.01, deadline.stop)
        stopper.start()
        with pytest.raises(StoppedError), limiter.enter(deadline, "copy that"):
            pass
        stopper.join()


def test_a_slot_is_not_waited_for_when_something_else_has_failed_before() -> None:
    limiter = ConcurrencyLimiter(1, 16)
    deadline = Deadline(1000)
    deadline.stop()
    with (
        limiter.enter(Deadline(1000), "copy this"),
        pytest.raises(StoppedError),
        limiter.enter(deadline, "copy that"),
    ):
        pass
