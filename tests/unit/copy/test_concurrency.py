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
    """Answers that wanted fewer requests."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        return self.count


class Road:
    """Lanes that are all taken, with somebody waiting for another."""

    def __init__(self, most: int = 12) -> None:
        self.clock = FakeClock()
        self.throttles = Throttles()
        self.lanes = ConcurrencyLimiter(most, 16, throttles=self.throttles, clock=self.clock)
        self.deadline = Deadline(1000)
        self._threads: list[threading.Thread] = []
        self._done = threading.Event()

    def crowd(self) -> None:
        """Let more want a lane than there can be."""
        arrived = threading.Semaphore(0)

        def drive() -> None:
            arrived.release()
            try:
                with self.lanes.enter(self.deadline, "drive"):
                    self._done.wait()
            except StoppedError:
                pass

        self._threads = [threading.Thread(target=drive) for _ in range(20)]
        for thread in self._threads:
            thread.start()
        for _ in self._threads:
            arrived.acquire()
        while self.lanes.waiting < 20 - self.lanes.limit:
            threading.Event().wait(0.001)

    def window(self, bytes_per_second: float) -> int:
        """Let a window pass at that rate, and tell how many lanes are open then."""
        self.clock.now += WINDOW_SECONDS
        self.lanes.advance(round(bytes_per_second * WINDOW_SECONDS))
        return self.lanes.limit

    def clear(self) -> None:
        """Let everybody go."""
        self._done.set()
        self.deadline.stop()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def road() -> Road:
    return Road()


@pytest.fixture
def crowded(road: Road) -> Iterator[Road]:
    road.crowd()
    yield road
    road.clear()


def test_slots_are_added_while_the_whole_becomes_faster(crowded: Road) -> None:
    assert crowded.lanes.limit == 8
    assert [crowded.window(rate) for rate in (1000, 1200, 1400, 1600)] == [9, 10, 11, 12]


def test_a_slot_that_gains_nothing_is_closed_again_and_not_tried_for_a_while(crowded: Road) -> None:
    assert [crowded.window(1000), crowded.window(1010)] == [9, 8]
    assert {crowded.window(1000) for _ in range(20)} == {8}
    assert crowded.window(1000) == 9


def test_there_are_never_more_slots_than_may_be() -> None:
    road = Road(most=9)
    road.crowd()
    opened = [road.window(rate) for rate in (1000, 2000, 4000, 8000)]
    road.clear()
    assert opened == [9, 9, 9, 9]


def test_a_throttle_closes_half_of_the_slots(crowded: Road) -> None:
    crowded.window(1000)
    crowded.throttles.count += 3
    assert crowded.window(9000) == 4
    assert {crowded.window(9000) for _ in range(20)} == {4}
    for left in (2, 1, 1):
        crowded.throttles.count += 1
        assert crowded.window(9000) == left


def test_no_lane_is_added_that_nobody_waits_for(road: Road) -> None:
    with road.lanes.enter(road.deadline, "drive"):
        assert [road.window(rate) for rate in (1000, 2000, 4000)] == [8, 8, 8]


def test_a_rate_is_that_of_a_whole_window(crowded: Road) -> None:
    crowded.clock.now += WINDOW_SECONDS / 2
    crowded.lanes.advance(1_000_000)
    assert crowded.lanes.limit == 8


def test_a_buffer_is_used_again_and_never_by_two() -> None:
    lanes = ConcurrencyLimiter(2, 16)
    deadline = Deadline(1000)
    with lanes.enter(deadline, "go") as first, lanes.enter(deadline, "go") as second:
        assert first.obj is not second.obj
        assert (len(first), len(second)) == (16, 16)
    with lanes.enter(deadline, "go") as third:
        assert third.obj in (first.obj, second.obj)


def test_waiting_for_a_slot_ends_with_the_deadline() -> None:
    lanes = ConcurrencyLimiter(1, 16)
    with (
        lanes.enter(Deadline(1000), "copy this"),
        pytest.raises(OutOfTimeError, match="cannot copy that"),
        lanes.enter(Deadline(0.01), "copy that"),
    ):
        pass


def test_waiting_for_a_slot_ends_when_something_else_fails() -> None:
    lanes = ConcurrencyLimiter(1, 16)
    deadline = Deadline(1000)
    with lanes.enter(Deadline(1000), "copy this"):
        stopper = threading.Timer(0.01, deadline.stop)
        stopper.start()
        with pytest.raises(StoppedError), lanes.enter(deadline, "copy that"):
            pass
        stopper.join()


def test_a_slot_is_not_waited_for_when_something_else_has_failed_before() -> None:
    lanes = ConcurrencyLimiter(1, 16)
    deadline = Deadline(1000)
    deadline.stop()
    with (
        lanes.enter(Deadline(1000), "copy this"),
        pytest.raises(StoppedError),
        lanes.enter(deadline, "copy that"),
    ):
        pass
