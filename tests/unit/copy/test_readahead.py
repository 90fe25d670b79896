from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from tests.unit.builders import FakeClock, FakeReader

from ecr_image_replicator.copy.readahead import ReadAhead, ReadAheadLimits, WatchedReader
from ecr_image_replicator.errors import DeniedError, Side, TransientError
from ecr_image_replicator.model.digests import ByteReader

CONTENT = bytes(range(256)) * 4
LIMITS = ReadAheadLimits(
    look_bytes=100,
    least_left_bytes=100,
    fast_bytes_per_second=1000,
    segment_bytes=10,
    segments=3,
)


class Ranges:
    """A source of ranges that knows which were requested for."""

    def __init__(self, *, short_by: int = 0, failure: Exception | None = None) -> None:
        self.requested: list[tuple[int, int]] = []
        self._short_by = short_by
        self._failure = failure
        self._lock = threading.Lock()

    @contextmanager
    def open(self, start: int, end: int) -> Iterator[ByteReader]:
        with self._lock:
            self.requested.append((start, end))
        if self._failure is not None:
            raise self._failure
        yield FakeReader(CONTENT[start : end - self._short_by], chunk_bytes=7)


def read_ahead(ranges: Ranges, *, rate_before: float = 1.0, end: int = len(CONTENT)) -> ReadAhead:
    return ReadAhead(
        ranges.open, 124, end, rate_before=rate_before, limits=LIMITS, clock=FakeClock()
    )


def read_all(reader: ByteReader, chunk_bytes: int = 16) -> bytes:
    buffer = memoryview(bytearray(chunk_bytes))
    content = b""
    while count := reader.readinto(buffer):
        content += bytes(buffer[:count])
    return content


def test_ranges_are_returned_in_order_without_duplicates() -> None:
    ranges = Ranges()
    with closing(read_ahead(ranges)) as ahead:
        assert read_all(ahead) == CONTENT[124:]
        assert ahead.offset == len(CONTENT)
    assert sorted(ranges.requested) == [(n, min(n + 10, 1024)) for n in range(124, 1024, 10)]


def test_the_number_of_requests_is_limited_by_the_segments() -> None:
    ranges = Ranges()
    with closing(read_ahead(ranges)) as ahead:
        ahead.readinto(memoryview(bytearray(4)))
    assert len(ranges.requested) <= 3


def test_read_ahead_stops_if_it_is_not_faster() -> None:
    ranges = Ranges()
    # the clock does not advance: the measured rate is millions of bytes per second
    with closing(read_ahead(ranges, rate_before=1e12)) as ahead:
        given = read_all(ahead)
    assert given == CONTENT[124 : 124 + len(given)]
    assert ahead.offset == 124 + len(given)
    # two rounds of segments, and the requests in flight at the end
    assert 60 <= len(given) <= 90


def test_a_range_that_ends_early_is_a_transient_error() -> None:
    with (
        closing(read_ahead(Ranges(short_by=1))) as ahead,
        pytest.raises(TransientError, match="ended 1 bytes early"),
    ):
        read_all(ahead)


def test_an_error_of_a_range_request_is_raised_by_the_reader() -> None:
    failing = Ranges(failure=DeniedError("no", side=Side.SOURCE))
    with closing(read_ahead(failing)) as ahead, pytest.raises(DeniedError):
        read_all(ahead)


def test_close_ends_all_threads() -> None:
    ahead = read_ahead(Ranges())
    ahead.readinto(memoryview(bytearray(4)))
    ahead.close()
    assert not [each for each in threading.enumerate() if each.name.startswith("ahead")]


class SlowReader:
    """A reader whose calls take a number of seconds."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds

    def readinto(self, buffer: memoryview, /) -> int:
        self._clock.now += self._seconds
        return len(buffer)


@pytest.mark.parametrize(
    ("reading_seconds", "sending_seconds", "is_slow"),
    [
        (1.0, 0.1, True),  # 91 bytes per second, nine tenths of the time in reads
        (1.0, 1.0, False),  # sending takes as long as reading
        (0.01, 0.001, False),  # fast enough, although most of the time is in reads
    ],
)
def test_a_connection_is_slow_if_reads_take_most_of_the_time(
    reading_seconds: float, sending_seconds: float, *, is_slow: bool
) -> None:
    clock = FakeClock()
    watched = WatchedReader(SlowReader(clock, reading_seconds), clock=clock)
    for _ in range(5):
        watched.readinto(memoryview(bytearray(100)))
        clock.now += sending_seconds
    assert watched.is_slow(LIMITS) is is_slow
