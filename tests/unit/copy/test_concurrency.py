from __future__ import annotations

import contextlib
import threading

import pytest

from ecr_image_replicator.copy.concurrency import ConcurrencyLimiter
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import OutOfTimeError, StoppedError


class Failures:
    """A counter of failures."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        return self.count


def _limit_after(limiter: ConcurrencyLimiter, bodies: int) -> int:
    """Return the limit after a number of sequential bodies."""
    for _ in range(bodies):
        with limiter.enter(Deadline(1000), "copy this"):
            pass
    return limiter.limit


def test_at_most_the_maximum_of_bodies_is_sent_at_once() -> None:
    limiter = ConcurrencyLimiter(3, 16)
    deadline = Deadline(1000)
    with contextlib.ExitStack() as slots:
        for _ in range(3):
            slots.enter_context(limiter.enter(deadline, "copy this"))
        with pytest.raises(OutOfTimeError), limiter.enter(Deadline(0.01), "copy that"):
            pass
    assert _limit_after(limiter, 100) == 3


def test_a_failure_halves_the_limit() -> None:
    failures = Failures()
    limiter = ConcurrencyLimiter(12, 16, failures=failures)
    limits = []
    for count in (3, 1, 1, 1):
        failures.count += count
        limits.append(_limit_after(limiter, 1))
    assert limits == [6, 3, 1, 1]


def test_the_limit_increases_by_one_after_a_limit_of_successful_bodies() -> None:
    failures = Failures()
    limiter = ConcurrencyLimiter(6, 16, failures=failures)
    failures.count += 1
    assert _limit_after(limiter, 1) == 3
    assert [_limit_after(limiter, bodies) for bodies in (2, 1, 3, 1)] == [3, 4, 4, 5]
    assert _limit_after(limiter, 100) == 6


def test_an_increased_limit_admits_a_waiting_body() -> None:
    failures = Failures()
    limiter = ConcurrencyLimiter(2, 16, failures=failures)
    failures.count += 1
    assert _limit_after(limiter, 1) == 1
    both = threading.Barrier(2, timeout=30)

    def hold_slot() -> None:
        with limiter.enter(Deadline(1000), "copy this"):
            both.wait()

    with limiter.enter(Deadline(1000), "copy this"):
        threads = [threading.Thread(target=hold_slot) for _ in range(2)]
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()
    assert not both.broken


def test_a_buffer_is_reused_and_never_shared() -> None:
    limiter = ConcurrencyLimiter(2, 16)
    deadline = Deadline(1000)
    with limiter.enter(deadline, "go") as first, limiter.enter(deadline, "go") as second:
        assert first.obj is not second.obj
        assert (len(first), len(second)) == (16, 16)
    with limiter.enter(deadline, "go") as third:
        assert third.obj in (first.obj, second.obj)


def test_waiting_for_a_slot_ends_at_the_deadline() -> None:
    limiter = ConcurrencyLimiter(1, 16)
    with (
        limiter.enter(Deadline(1000), "copy this"),
        pytest.raises(OutOfTimeError, match="cannot copy that"),
        limiter.enter(Deadline(0.01), "copy that"),
    ):
        pass


def test_waiting_for_a_slot_ends_when_the_deadline_is_stopped() -> None:
    limiter = ConcurrencyLimiter(1, 16)
    deadline = Deadline(1000)
    with limiter.enter(Deadline(1000), "copy this"):
        stopper = threading.Timer(0.01, deadline.stop)
        stopper.start()
        with pytest.raises(StoppedError), limiter.enter(deadline, "copy that"):
            pass
        stopper.join()


def test_a_stopped_deadline_does_not_wait_for_a_slot() -> None:
    limiter = ConcurrencyLimiter(1, 16)
    deadline = Deadline(1000)
    deadline.stop()
    with (
        limiter.enter(Deadline(1000), "copy this"),
        pytest.raises(StoppedError),
        limiter.enter(deadline, "copy that"),
    ):
        pass
