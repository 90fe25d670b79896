"""Peak memory of copies of ever larger blobs, by one warm process with boto3 loaded."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from local.ports import reserved_port

from benchmarks import artifact
from benchmarks.functions import our_function
from benchmarks.images import MEBIBYTE
from benchmarks.registries import wait_for_port
from benchmarks.shared_environment import new_shared_environment
from benchmarks.tables import limit_line, markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.functions import Function
    from benchmarks.report import Report

_TITLE: Final = "Memory, one warm process with boto3 loaded"
_MOST_MEBIBYTES: Final = 96.0


def run(report: Report, sizes_bytes: Sequence[int]) -> None:
    """Measure and report the table and the goal."""
    with report.attempt(_TITLE), new_shared_environment() as shared:
        handler = artifact.HANDLER_WITH_BOTO3
        function = our_function(shared.endpoint, shared.ca_file, warm=True, handler=handler)
        try:
            peaks = measure(function, sizes_bytes)
        finally:
            function.close()
        report.write(table(peaks))
        most, least = (bound(peaks.values()) / MEBIBYTE for bound in (max, min))
        name = f"peak of any size; the least is {least:.1f}"
        report.add_goals(limit_line(name, most, _MOST_MEBIBYTES, "MiB"))


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
    return f"### {_TITLE}\n\n{markdown_table(head, lines)}"


@contextlib.contextmanager
def zeros(sizes_bytes: Sequence[int], *, bytes_per_second: int = 0) -> Iterator[str]:
    """Run a registry with an image of one layer of zeros for each size, and yield its host."""
    with reserved_port() as port:
        numbers = map(str, (port, bytes_per_second, *sizes_bytes))
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.zeros", *numbers])
        try:
            # the registry hashes ten gibibytes of zeros before it listens
            wait_for_port(port, process, seconds=600)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()
