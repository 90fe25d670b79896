"""A long blob from a source that gives a connection so many bytes a second and no more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.zeros import ZeroRegistry
from tests.replicating import replicate_once

from ecr_image_replicator.outcome import Outcome

MEBIBYTE = 1024 * 1024
SIZE_BYTES = 108 * MEBIBYTE
#: Slow enough that several connections are faster on a busy machine, too.
CAPPED = 16 * MEBIBYTE


@contextmanager
def registry_of_zeros(*sizes: int, bytes_per_second: float = 0.0) -> Iterator[ZeroRegistry]:
    registry = ZeroRegistry(0, [*sizes], bytes_per_second=bytes_per_second)
    thread = threading.Thread(target=registry.serve_forever)
    thread.start()
    try:
        yield registry
    finally:
        registry.shutdown()
        thread.join()
        registry.server_close()


def replicate(source: ZeroRegistry, destination: ZeroRegistry) -> Outcome:
    return replicate_once(
        {
            "SrcImage": f"127.0.0.1:{source.server_port}/zeros-{SIZE_BYTES}:latest",
            "DestImage": f"127.0.0.1:{destination.server_port}/copy:1",
        },
    )


def test_a_connection_that_is_slow_is_helped_by_ranges() -> None:
    with (
        registry_of_zeros(SIZE_BYTES, bytes_per_second=CAPPED) as source,
        registry_of_zeros() as destination,
    ):
        assert replicate(source, destination).changed
        whole, *ranges = source.ranges
    assert whole == ""
    offsets = sorted(tuple(map(int, each.removeprefix("bytes=").split("-"))) for each in ranges)
    assert offsets[-1][1] == SIZE_BYTES - 1
    assert all(last - first < 4 * MEBIBYTE for first, last in offsets)
    # one after the other, without gap and without overlap
    assert [first for first, _ in offsets[1:]] == [last + 1 for _, last in offsets[:-1]]
    assert 32 * MEBIBYTE <= offsets[0][0] <= 33 * MEBIBYTE
