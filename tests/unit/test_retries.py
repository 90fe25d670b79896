from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.builders import FakeClock

from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import OutOfTimeError, StoppedError, TransientError
from ecr_image_replicator.retries import Backoff, RetryPolicy, SharedPause, parse_retry_after

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("attempt", "longest"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30), (99, 30)]
)
def test_the_backoff_doubles_up_to_its_maximum(attempt: int, longest: float) -> None:
    policy = RetryPolicy(attempts=100)
    for drawn in (0.0, 0.5, 1.0):
        delay = policy.delay_seconds(attempt, retry_after_seconds=None, draw=lambda d=drawn: d)  # type: ignore[misc]
        assert delay == longest * drawn


def test_there_is_no_delay_after_the_last_attempt() -> None:
    policy = RetryPolicy(attempts=3)
    assert policy.delay_seconds(2, retry_after_seconds=None, draw=lambda: 1.0) is not None
    assert policy.delay_seconds(3, retry_after_seconds=1.0, draw=lambda: 1.0) is None


def test_retry_after_may_exceed_the_longest_delay() -> None:
    policy = RetryPolicy(max_delay_seconds=5)
    assert policy.delay_seconds(1, retry_after_seconds=60, draw=lambda: 0.0) == 60
    assert policy.delay_seconds(1, retry_after_seconds=60, draw=lambda: 1.0) == 61


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("9" * 400, 999999999.0),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("soon", None),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:13:50 +0000", 30.0),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
        ("Tue, 14 Nov 2023 22:13:00 +99999999999999999", None),
        ("Tue, 14 Nov 99999 22:13:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert parse_retry_after({"retry-after": value}, now=lambda: NOW) == seconds


def test_a_response_without_retry_after_has_no_delay() -> None:
    assert parse_retry_after({}, now=lambda: NOW) is None


@given(
    st.text()
    | st.from_regex(r"(Mon, )?[0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,6} [0-9:]{0,9} ?([+-][0-9]{1,30})?")
)
def test_arbitrary_retry_after_values_are_parsed_or_ignored(value: str) -> None:
    seconds = parse_retry_after({"retry-after": value}, now=lambda: NOW)
    assert seconds is None or seconds >= 0


def test_a_shorter_pause_does_not_shorten_a_longer_pause() -> None:
    clock = FakeClock()
    pause = SharedPause(clock=clock)
    assert pause.remaining_seconds == 0
    pause.extend(10)
    pause.extend(3)
    clock.now += 4
    assert pause.remaining_seconds == 6
    clock.now += 100
    assert pause.remaining_seconds == 0


def _backoff(seconds: float, clock: FakeClock, draw: float = 0.5) -> Backoff:
    deadline = Deadline(seconds, clock=clock, wait=clock.wait)
    return Backoff(RetryPolicy(attempts=3), deadline, draw=lambda: draw)


def test_waits_have_the_delays_of_the_retry_policy() -> None:
    clock = FakeClock()
    backoff = _backoff(100, clock)
    error = TransientError("broke")
    assert [backoff.wait_after(attempt, error) for attempt in (1, 2, 3)] == [True, True, False]
    assert clock.slept == [0.5, 1.0]


def test_on_retry_receives_each_failure_that_is_retried() -> None:
    clock, reported = FakeClock(), list[TransientError]()
    deadline = Deadline(100, clock=clock, wait=clock.wait)
    backoff = Backoff(RetryPolicy(attempts=3), deadline, on_retry=reported.append)
    errors = [TransientError("broke"), TransientError("slow down", is_throttle=True)]
    for attempt, error in enumerate([*errors, TransientError("the last")], start=1):
        backoff.wait_after(attempt, error)
    assert reported == errors


def test_throttled_responses_and_broken_connections_count_as_failures() -> None:
    backoff = _backoff(100, FakeClock())
    for error in (TransientError("429", is_throttle=True), TransientError("reset")):
        backoff.wait_after(1, error)
    assert backoff.failures == 2


def test_a_wait_beyond_the_deadline_is_out_of_time() -> None:
    clock = FakeClock()
    error = TransientError("broke", retry_after_seconds=60)
    with pytest.raises(OutOfTimeError, match="broke; the next attempt in 60 s exceeds"):
        _backoff(50, clock).wait_after(1, error)
    assert clock.slept == []


def test_retry_after_pauses_all_requests_to_the_host() -> None:
    clock = FakeClock()
    pause = SharedPause(clock=clock)
    assert _backoff(100, clock, 0.0).wait_after(
        1, TransientError("slow down", retry_after_seconds=20), pause
    )
    assert clock.slept == [20]
    clock.now -= 5
    _backoff(100, clock).wait_for(pause)
    assert clock.slept == [20, 5.5]


def test_a_failure_without_throttling_does_not_delay_other_requests() -> None:
    clock = FakeClock()
    pause = SharedPause(clock=clock)
    assert _backoff(100, clock).wait_after(1, TransientError("broke"), pause)
    assert pause.remaining_seconds == 0
    _backoff(100, clock).wait_for(pause)
    assert clock.slept == [0.5]


def test_a_pause_beyond_the_deadline_is_out_of_time() -> None:
    clock = FakeClock()
    pause = SharedPause(clock=clock)
    pause.extend(200)
    with pytest.raises(OutOfTimeError, match="allows the next request in 60 s"):
        _backoff(50, clock).wait_for(pause)


def test_a_shared_pause_lasts_at_most_one_minute() -> None:
    clock = FakeClock()
    pause = SharedPause(clock=clock)
    pause.extend(10**9)
    assert pause.remaining_seconds == 60


def test_a_stop_interrupts_the_wait() -> None:
    deadline = Deadline(100)
    deadline.stop()
    with pytest.raises(StoppedError):
        Backoff(RetryPolicy(), deadline).wait_after(1, TransientError("broke"))
