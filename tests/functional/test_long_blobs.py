"""A large blob from a source whose connections are slow."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from benchmarks.zeros import ZeroRegistry
from tests.replicating import replicate_once

from ecr_image_replicator.copy.readahead import READ_AHEAD
from ecr_image_replicator.outcome import Outcome
from ecr_image_replicator.registry.downloads import Downloads

MEBIBYTE = 1024 * 1024
SIZE_BYTES = 108 * MEBIBYTE
#: Every connection is slow, and several of them are faster.
SLOW = READ_AHEAD._replace(waiting=0.0, fast_bytes_per_second=math.inf, gain=0.0)


@contextmanager
def registry_of_zeros(*sizes: int) -> Iterator[ZeroRegistry]:
    registry = ZeroRegistry(0, [*sizes])
    thread = threading.Thread(target=registry.serve_forever, args=(0.01,))
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


def test_a_large_blob_on_a_slow_connection_is_continued_with_ranges(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    downloads = functools.partial(Downloads, limits=SLOW)
    monkeypatch.setattr("ecr_image_replicator.registry.source.Downloads", downloads)
    with (
        registry_of_zeros(SIZE_BYTES) as source,
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
