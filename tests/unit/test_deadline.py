from __future__ import annotations

import threading

import pytest
from tests.unit.builders import FakeClock

from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import OutOfTimeError, StoppedError


def test_remaining_time_decreases_to_zero() -> None:
    clock = FakeClock()
    deadline = Deadline(10, clock=clock)
    assert deadline.remaining_seconds == 10
    clock.now += 4
    assert deadline.remaining_seconds == 6
    clock.now += 100
    assert deadline.remaining_seconds == 0


def test_a_check_fails_after_the_deadline() -> None:
    clock = FakeClock()
    deadline = Deadline(10, clock=clock)
    deadline.check("copy a blob")
    clock.now += 10
    with pytest.raises(OutOfTimeError, match="timed out after 10 s: cannot copy a blob"):
        deadline.check("copy a blob")


def test_a_check_fails_after_a_stop() -> None:
    deadline = Deadline(10)
    deadline.stop()
    with pytest.raises(StoppedError, match="before it could copy a blob"):
        deadline.check("copy a blob")


def test_a_stop_has_precedence_over_a_timeout() -> None:
    deadline = Deadline(0)
    deadline.stop()
    with pytest.raises(StoppedError):
        deadline.check("go on")


@pytest.mark.parametrize(("seconds", "waited"), [(9.9, True), (10, False), (11, False)])
def test_a_wait_that_exceeds_the_remaining_time_is_not_started(
    seconds: float, waited: bool
) -> None:
    clock = FakeClock()
    assert Deadline(10, clock=clock, wait=clock.wait).wait(seconds) is waited
    assert clock.slept == ([seconds] if waited else [])


def test_a_stop_interrupts_a_wait() -> None:
    deadline = Deadline(60)
    stopper = threading.Timer(0.05, deadline.stop)
    stopper.start()
    with pytest.raises(StoppedError):
        deadline.wait(50)
    stopper.join()


def test_stopping_a_branch_does_not_stop_its_parent() -> None:
    deadline = Deadline(60)
    branch = deadline.branch()
    branch.stop()
    deadline.check("go on")
    with pytest.raises(StoppedError):
        branch.check("go on")


def test_a_branch_ends_with_its_parent() -> None:
    clock = FakeClock()
    deadline = Deadline(10, clock=clock, wait=clock.wait)
    before, later = deadline.branch(), deadline.branch().branch()
    clock.sleep(9)
    assert (before.remaining_seconds, deadline.branch().remaining_seconds) == (1, 1)
    deadline.stop()
    for branch in (before, later, deadline.branch()):
        with pytest.raises(StoppedError):
            branch.wait(0.5)
