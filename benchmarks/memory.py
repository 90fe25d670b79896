"""Peak memory of copies of ever larger blobs, by one warm process with boto3 loaded."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from benchmarks.images import MEBIBYTE
from benchmarks.registries import free_port, wait_for_port
from benchmarks.tables import markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.programs import Function

_MOST_BYTES: Final = 96 * MEBIBYTE


def measure(function: Function, sizes_bytes: Sequence[int]) -> dict[int, int]:
    """Measure the peak resident memory during the copy of each size."""
    with zeros(sizes_bytes) as source, zeros(()) as destination:
        peaks = {}
        for size in sizes_bytes:
            properties = {
                "SrcImage": f"docker://{source}/zeros-{size}:latest",
                "DestImage": f"docker://{destination}/zeros-{size}:latest",
            }
            peaks[size] = function.replicate(properties).peak_bytes
        return peaks


def table(peaks: dict[int, int]) -> str:
    """Render the results."""
    lines = [(f"{size // MEBIBYTE}", f"{peak / MEBIBYTE:.1f}") for size, peak in peaks.items()]
    head = ("MiB of one layer", "peak MiB")
    return f"### Memory, one warm process with boto3 loaded\n\n{markdown_table(head, lines)}"


def goal_line(peaks: dict[int, int]) -> tuple[str, ...]:
    """Compare the largest with the goal."""
    most, least = max(peaks.values()), min(peaks.values())
    verdict = "reached" if most <= _MOST_BYTES else "missed"
    return (
        "peak MiB; beside the least of any size",
        f"{most / MEBIBYTE:.1f}",
        f"{least / MEBIBYTE:.1f}",
        f"{most / least:.2f}",
        f"{_MOST_BYTES // MEBIBYTE} MiB",
        verdict,
    )


@contextlib.contextmanager
def zeros(sizes_bytes: Sequence[int], *, bytes_per_second: int = 0) -> Iterator[str]:
    """Run a registry with an image of one layer of zeros for each size; return its host."""
    port = free_port()
    numbers = map(str, (port, bytes_per_second, *sizes_bytes))
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.zeros", *numbers])
    try:
        # it hashes ten gibibytes of zeros before it listens
        wait_for_port(port, process, seconds=60)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
