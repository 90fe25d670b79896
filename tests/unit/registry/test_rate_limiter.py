from __future__ import annotations

import pytest

from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import OutOfTimeError
from ecr_image_replicator.registry.rate_limiter import RateLimiter


class FakeClock:
    """A clock that advances only in `wait`."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return False


def _starts(
    limiter: RateLimiter, clock: FakeClock, count: int, seconds: float = 1000.0
) -> list[float]:
    deadline = Deadline(seconds, clock=clock, wait=clock.wait)
    starts = []
    for _ in range(count):
        limiter.wait(deadline)
        starts.append(clock.now)
    return starts


def _rate(limiter: RateLimiter, clock: FakeClock) -> int:
    """Return how many requests start at once, after a second without any."""
    clock.now += 1.0
    starts = _starts(limiter, clock, 20)
    return starts.count(starts[0])


def test_at_most_the_rate_starts_in_each_second() -> None:
    clock = FakeClock()

    starts = _starts(RateLimiter(9, clock=clock), clock, 40)

    assert starts[:9] == [100.0] * 9
    assert all(later - start >= 1.0 for start, later in zip(starts, starts[9:], strict=False))


def test_a_throttle_halves_the_rate_at_most_once_per_second_to_at_least_one() -> None:
    clock = FakeClock()
    limiter = RateLimiter(8, clock=clock)

    limiter.decrease()
    limiter.decrease()
    assert _rate(limiter, clock) == 4

    for _ in range(5):
        clock.now += 1.0
        limiter.decrease()
    assert _rate(limiter, clock) == 1


def test_a_decreased_rate_is_applied_and_increases_gradually() -> None:
    clock = FakeClock()
    limiter = RateLimiter(8, clock=clock)
    limiter.decrease()

    starts = _starts(limiter, clock, 12)
    assert all(later - start >= 1.0 for start, later in zip(starts, starts[4:], strict=False))

    for _ in range(4):
        limiter.increase()
    assert _rate(limiter, clock) == 5
    for _ in range(100):
        limiter.increase()
    assert _rate(limiter, clock) == 8


def test_a_wait_beyond_the_deadline_is_out_of_time() -> None:
    clock = FakeClock()
    limiter = RateLimiter(1, clock=clock)
    _starts(limiter, clock, 1)

    with pytest.raises(
        OutOfTimeError, match=r"timed out after 0 s: the rate limit .* requires a wait of 1.0 s"
    ):
        _starts(limiter, clock, 1, seconds=0.5)
    assert clock.now == 100.0
