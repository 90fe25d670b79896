"""A large blob from a source that limits the bytes per second of each connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.zeros import ZeroRegistry
from tests.replicating import replicate_once

from ecr_image_replicator.outcome import Outcome

MEBIBYTE = 1024 * 1024
SIZE_BYTES = 108 * MEBIBYTE
#: So slow that several connections are faster, even on a busy machine.
MAX_BYTES_PER_SECOND = 16 * MEBIBYTE


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


def test_a_large_blob_on_a_slow_connection_is_continued_with_ranges() -> None:
    with (
        registry_of_zeros(SIZE_BYTES, bytes_per_second=MAX_BYTES_PER_SECOND) as source,
        registry_of_zeros() as destination,
    ):
        assert replicate(source, destination).changed
        whole, *ranges = source.ranges
    assert whole == ""
    offsets = sorted(tuple(map(int, each.removeprefix("bytes=").split("-"))) for each in ranges)
    assert offsets[-1][1] == SIZE_BYTES - 1
    assert all(last - first < 4 * MEBIBYTE for first, last in offsets)
    # the ranges have no gap and no overlap
    assert [first for first, _ in offsets[1:]] == [last + 1 for _, last in offsets[:-1]]
    assert 32 * MEBIBYTE <= offsets[0][0] <= 33 * MEBIBYTE
